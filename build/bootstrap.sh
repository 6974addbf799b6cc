#!/bin/sh
# What `make` needs from the system: Python >= 3.11 with venv and its headers, and a C compiler. What is missing is
# installed where that is possible (Debian and its kin, as root); elsewhere it is named, and the status is 1.
set -eu

python=${1:-python3}

stop() {
	echo "gfwd needs $*" >&2
	exit 1
}

compiles() {
	printf '#include <%s>\n' "$1" | ${CC:-cc} ${2:+"-I$2"} -fsyntax-only -x c - >/dev/null 2>&1
}

has_headers() {
	compiles Python.h "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')"
}

missing() {
	"$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$venv"
	command -v ${CC:-cc} >/dev/null || echo gcc
	compiles stdio.h || echo libc6-dev
	has_headers || echo "$dev"
}

command -v "$python" >/dev/null || stop "Python 3.11 or later: install it, or say where it is: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	stop "Python 3.11 or later; $python is $("$python" -V): make PYTHON=/path/to/a/later/python3"

# Debian's names. They carry the version, because $python need not be the system's default one.
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
venv=$version-venv
dev=$version-dev

packages=$(missing | xargs)
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
	stop "what Debian calls $packages: install that with this system's package manager"
elif [ "$(id -u)" != 0 ]; then
	stop "$packages: run 'apt-get install $packages' as root, or this as root"
fi
echo "installing with apt-get: $packages"
export DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes
apt-get -qq -o DPkg::Lock::Timeout=300 update
# shellcheck disable=SC2086 # one word a package
apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends -y $packages >/dev/null </dev/null

packages=$(missing | xargs)
[ -z "$packages" ] || stop "$packages, and apt-get did not bring it for $python: make PYTHON=/path/to/another/python3"
