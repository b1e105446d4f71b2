"""The connection of a command: where its server is, the client that calls it, and the client of a mere database."""
