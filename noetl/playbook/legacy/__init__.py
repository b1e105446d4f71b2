"""Older spellings of playbooks, normalised in front of the reader."""
