"""Workers: they lease jobs, run them and record what came of them."""
