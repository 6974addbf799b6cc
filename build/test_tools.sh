#!/bin/sh
# What some tests ask beside gfwd: systemd about the unit, shells about completion, mandoc about manual pages. Where they
# cannot be had (no Debian, no root, no network), those tests are skipped and say so; nothing fails for it.
set -eu

missing() {
	command -v systemd-analyze >/dev/null || echo systemd
	command -v zsh >/dev/null || echo zsh
	command -v fish >/dev/null || echo fish
	command -v mandoc >/dev/null || echo mandoc
}

packages=$(missing | xargs)
[ -n "$packages" ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || exit 0
echo "installing with apt-get, for tests: $packages"
export DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes
# shellcheck disable=SC2086 # one word a package
apt-get -qq -o DPkg::Lock::Timeout=300 update &&
	apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends -y $packages >/dev/null </dev/null ||
	echo "not installed: $packages; tests that need them are skipped"
