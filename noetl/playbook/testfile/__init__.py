"""Tests of playbooks as files: read, checked, immutable."""
