"""YAML as text and as a tree: reading with places, scalars by YAML 1.2, writing."""
