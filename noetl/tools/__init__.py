"""The tools: one step type with effects per module, all of one shape, in one explicit registry."""
