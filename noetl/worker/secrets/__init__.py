"""Secrets of calls: where they come from, how they are sealed, and how they enter a call."""
