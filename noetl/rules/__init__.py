"""Rules of the language that both sides of it apply: the loader before a run, the tools during one. Pure."""
