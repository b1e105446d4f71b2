"""The child processes that run playbooks' code, and their pool."""
