"""Secrets of calls: their sources, their seals, and their injection into a call."""
