"""Templates: compiled once, rendered within a budget in a sandbox, to plain JSON values."""
