"""Drawings of workflows: SVG, Mermaid and outlines in text."""
