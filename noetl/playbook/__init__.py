"""YAML in, a checked and immutable `Playbook` out; templates. Pure: no clock, no I/O."""
