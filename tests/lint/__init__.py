"""Seeded mistakes: correct playbooks, operators that break them, and where lint has to find what they broke."""
