"""SQL in the fields of steps: split into commands, bound to values, its results as plain JSON."""
