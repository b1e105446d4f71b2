"""NoETL runs YAML playbooks durably with nothing but Postgres."""

__version__ = "0.1.0"
