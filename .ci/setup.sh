#!/bin/sh
# Finds a Python that will do and hands over to setup.py, which says nothing when nothing is due.
set -eu

suits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    suits "$PYTHON" || {
        echo "PYTHON=$PYTHON will not do: Python 3.11, 3.12 or 3.13 with the venv module is needed." >&2
        exit 2
    }
    exec "$PYTHON" .ci/setup.py
fi
for candidate in .venv/bin/python python3 python3.13 python3.12 python3.11 python; do
    if suits "$candidate"; then
        exec "$candidate" .ci/setup.py
    fi
done
echo 'Python 3.11, 3.12 or 3.13 is needed and was not found on PATH.' >&2
echo 'Install one (on Debian and Ubuntu the package python3-venv too), or name one: make setup PYTHON=/path/to/python3' >&2
exit 2
