"""Effects: one action type per file, all of one shape, one explicit registry."""
