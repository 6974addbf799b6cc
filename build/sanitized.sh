#!/bin/sh
# Runs pytest, with the arguments given, on a core that was built with ASan and UBSan.
set -eu

asan=$(${CC:-cc} -print-file-name=libasan.so)
case $asan in
/*) ;;
*)
	echo "the sanitized run needs gcc and its libasan: ${CC:-cc} has none" >&2
	exit 1
	;;
esac
core=$(.venv/bin/python build/native.py --sanitize --out .cache/sanitized)

# Python itself leaks at exit, and its own allocator would hide the ends of blocks from ASan.
# --capture=sys leaves stderr to the sanitizers: what they say last must reach the terminal.
exec env GFWD_CORE="$core" LD_PRELOAD="$asan" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	.venv/bin/python -m pytest --capture=sys "$@"
