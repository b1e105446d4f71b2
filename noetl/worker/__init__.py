"""Workers: processes that lease jobs, run them and record their outcomes."""
