#!/bin/sh
# Writes requirements.lock: exact versions and hashes of all that gfwd needs to be built, run and tested.
#   sh build/lock.sh PYTHON [--upgrade]
set -eu

python=$1
shift
[ -x .cache/lock/bin/uv ] || {
	"$python" -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet uv
}
# What the build requires stands in its own table of pyproject.toml, which uv does not read by itself.
"$python" -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")
' | .cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" --group dev pyproject.toml - --output-file requirements.lock "$@"
