"""Loops: what they run over, their items, and the names within them."""
