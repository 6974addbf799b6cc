#!/bin/sh
# Shows the job: as root on Linux live, in a network of namespaces; else from capture to capture. The core is the same.
set -eu

capture=tests/data/exporters.pcap
rules=tests/data/demo.rules

live() {
	printf '$ gfwd lab %s --rules %s --seconds 5\n\n' $capture $rules
	.venv/bin/gfwd lab $capture --rules $rules --seconds 5
}

from_capture_to_capture() {
	mkdir -p .cache/demo
	out=.cache/demo/$(basename $capture)
	printf '$ gfwd replay %s -o %s --rules %s\n\n' $capture "$out" $rules
	.venv/bin/gfwd replay $capture -o "$out" --rules $rules
	printf '\nWhat was forwarded lies in %s.\n' "$out"
}

if [ "$(uname)" != Linux ] || [ "$(id -u)" != 0 ]; then
	from_capture_to_capture
	echo "As root, on Linux, this forwards live, between hosts in network namespaces."
elif ! live; then
	printf '\nThat did not go through here (see above). The same core, without a network:\n\n'
	from_capture_to_capture
fi

cat <<'END'

Where to look next:
  tests/data/demo.rules        the rules; change one, and run this again
  tests/data/README.md         who sent what in the capture
  .venv/bin/gfwd lab -h        other rates, captures and rules
  .venv/bin/gfwd replay -h     from capture to capture, without privileges
  docs/run.md                  on your own network
  docs/rules.md                what a rules file may say
  docs/packets.md              why a frame was passed or dropped
END
