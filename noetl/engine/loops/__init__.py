"""Loops: the items they run over, those in progress, and the names within them."""
