"""The save tool: data into the event log, a table, or a file."""
