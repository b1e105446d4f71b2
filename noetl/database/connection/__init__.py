"""Connections to Postgres: opened, pooled, gathering statements, woken up by notifications."""
