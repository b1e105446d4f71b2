#!/bin/sh
# Stop what runs in this clone and remove environment, caches and logs; with --data also the embedded database.
set -eu
exec >&2
cd "$(dirname "$0")/.."
home=${NOETL_HOME:-$PWD/.noetl}

# What runs can only be stopped by the program: if the environment is gone and something was left, make it again.
if [ ! -x .venv/bin/invoke ] && [ -d "$home" ]; then
    sh scripts/bootstrap.sh
fi
if [ -x .venv/bin/invoke ] && [ -d "$home" ]; then
    .venv/bin/invoke stop-all ${1:+--data}
fi
rm -rf .venv .venv.lock logs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis ./*.egg-info
find . -name .git -prune -o -name .noetl -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
