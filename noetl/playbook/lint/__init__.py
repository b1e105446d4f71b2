"""The checks of a playbook that has been read."""
