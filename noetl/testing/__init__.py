"""Tests of playbooks: the real engine, no database, no network, virtual time."""
