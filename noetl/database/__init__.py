"""The only SQL of the engine: connections, the embedded server, the schema, and every statement."""
