#!/bin/sh
# Makes .venv-board-VERSION: the board's Python environment on a PC, with the real pynq VERSION (3.0.1, 3.1.2).
# Needs a Python 3.10 (PYTHON310, python3.10, or pyenv's); without one it says so and ends with code 3.
set -e
version=$1
here=$(cd "$(dirname "$0")/.." && pwd)
venv=$here/.venv-board-$version
python=
# A pyenv shim is on the PATH also where its version is not chosen: each candidate has to run.
for candidate in "$PYTHON310" python3.10 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python; do
  if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "There is no Python 3.10, which the board has: its tests will be skipped (set PYTHON310 to one)." >&2
  exit 3
fi
[ -e "$venv/.ready" ] && [ "$venv/.ready" -nt "$here/requirements/board.txt" ] && exit 0
echo "Setting up $venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "wheel<0.46" "setuptools<70"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation -r "$here/requirements/board.txt" "pynq==$version"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "hatchling>=1.27" pathspec pluggy packaging trove-classifiers tomli editables
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable "$here"
touch "$venv/.ready"
