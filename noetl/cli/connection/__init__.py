"""The connection of a command: the address of its server, the client that calls it, the client of a database."""
