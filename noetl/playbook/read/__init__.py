"""The reader of playbooks: from the YAML tree to the model, gathering every problem with its place."""
