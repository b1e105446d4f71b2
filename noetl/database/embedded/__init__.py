"""The embedded Postgres: its programs, folders, passwords, start and stop."""
