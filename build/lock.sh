#!/bin/sh
# Writes exact versions and hashes: to requirements.lock of all that gfwd needs to be built, run and tested, and to
# requirements-binary.lock of what is needed besides to make it one executable.
#   sh build/lock.sh PYTHON [--upgrade]
set -eu

python=$1
shift
[ -x .cache/lock/bin/uv ] || {
	"$python" -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet uv
}
lock() {
	.cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" "$@"
}
# What the build requires stands in its own table of pyproject.toml, which uv does not read by itself.
"$python" -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")
' | lock --group dev pyproject.toml - --output-file requirements.lock "$@"
# Both are installed side by side: where they name the same, they mean the same.
lock --group binary --constraint requirements.lock --output-file requirements-binary.lock "$@"
