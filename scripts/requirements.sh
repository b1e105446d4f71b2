#!/bin/sh
# Write requirements.txt (the program and its tasks) and requirements-dev.txt (with tools and tests) from pyproject.toml: versions
# and hashes for every platform, no index address.
set -eu
cd "$(dirname "$0")/.."
if ! command -v uv >/dev/null 2>&1; then
    echo "Pinning needs uv, which is not on PATH: pip install uv." >&2
    exit 2
fi
compile() {
    uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-annotate --upgrade --quiet --custom-compile-command "make requirements" "$@"
}
compile --extra build --extra ops --extra duckdb --output-file requirements.txt
compile --extra build --extra ops --extra duckdb --extra dev --constraint requirements.txt --output-file requirements-dev.txt
