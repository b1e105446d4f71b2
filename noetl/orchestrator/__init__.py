"""The only meeting of engine and database: register, start, cancel, complete, each in one transaction."""
