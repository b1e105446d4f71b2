"""The only meeting of engine and database: register, start, cancel, advance, each in one transaction."""
