"""`python -m benchmarks` runs all measurements."""

from benchmarks.bench import main

main()
