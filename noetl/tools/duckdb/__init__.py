"""The duckdb tool: opening files, running SQL, values as JSON."""
