#!/bin/sh
# What pip cannot bring: Python 3.11, a C++ compiler and make. One sentence for what is missing.
python=$1
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
  echo "Python 3.11 is needed and '${python:-python3}' is not it; install it and run: make PYTHON=/path/to/python3.11" >&2
  exit 2
fi
for tool in g++ make; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "'$tool' is missing; install it (Debian, Ubuntu: sudo apt-get install g++ make) and run make again." >&2
    exit 2
  fi
done
