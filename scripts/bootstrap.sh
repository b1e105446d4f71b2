#!/bin/sh
# Make .venv hold exactly what requirements.txt pins, and the project itself (editable). With the argument `dev` also
# what requirements-dev.txt adds for tests and checks.
#
# Does nothing when nothing changed. Everything is written to stderr: stdout belongs to the command that Make runs
# next. Nothing outside the clone is written but pip's cache, and that only where the home folder can be written.
set -eu
exec >&2
cd "$(dirname "$0")/.."
root=$(pwd -P)
venv="$root/.venv"
kind=${1:-base}

wanted() { # what the environment depends on; the folder too, since an environment cannot be moved
    echo "$root"
    cat pyproject.toml requirements.txt | cksum
    if [ "$1" = dev ]; then
        cksum <requirements-dev.txt
    fi
}

is_current() {
    stamp="$venv/.installed-$1"
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(wanted "$1")" ] && "$venv/bin/python" -c '' 2>/dev/null
}

find_python() { # a candidate counts only if it runs: a shim on PATH may belong to somebody else
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python3.14 \
        /usr/local/bin/python3 /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 /usr/bin/python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "NoETL needs Python 3.11 or newer with the modules venv and ensurepip, and found none (tried" \
        "python3.13, python3.12, python3.11 and python3): install one (on Debian: apt-get install python3" \
        "python3-venv), or name it with make PYTHON=/path/to/python3." >&2
    return 1
}

pip_install() { # bytecode is written when a module is first imported: most never are
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet install --no-compile "$@"
}

install_base() {
    python=$(find_python)
    echo "Installing NoETL into .venv with $("$python" -c 'import sys; print("Python", *sys.version.split()[:1])')"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    pip_install --require-hashes --requirement requirements.txt
    pip_install --no-build-isolation --no-deps --no-index --editable .
    wanted base >"$venv/.installed-base"
}

install_dev() {
    echo "Installing what tests and checks need"
    pip_install --require-hashes --requirement requirements-dev.txt
    wanted dev >"$venv/.installed-dev"
}

if is_current base && { [ "$kind" = base ] || is_current dev; }; then
    exit 0
fi
# One installation at a time in one clone: the second waits, then finds the work done.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$root/.venv.lock"
    if ! flock -n 9; then
        echo "Another make is installing here: waiting for it"
        flock 9
    fi
fi
if [ -z "${HOME:-}" ] || [ ! -w "$HOME" ]; then
    export PIP_NO_CACHE_DIR=1
fi
is_current base || install_base
[ "$kind" = base ] || is_current dev || install_dev
