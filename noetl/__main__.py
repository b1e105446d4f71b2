"""`python -m noetl` is the command `noetl`."""

from noetl.cli import main

if __name__ == "__main__":
    main()
