"""The HTTP API. Every route but /livez and /readyz needs a bearer token; see `gate` for what is refused."""
