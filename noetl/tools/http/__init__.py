"""The http tool: requests, guarded connections, redirects, bodies within limits."""
