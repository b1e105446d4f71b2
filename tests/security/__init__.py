"""Who is let in, and how far: attacks on the running program, one file per subject."""
