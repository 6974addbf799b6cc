#!/bin/sh
# Shows the job: as root on Linux live, in a network of namespaces; else from capture to capture. The core is the same.
set -eu

capture=tests/data/exporters.pcap
rules=tests/data/demo.rules

if [ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ]; then
	printf '$ gfwd lab %s --rules %s --seconds 5\n\n' $capture $rules
	.venv/bin/gfwd lab $capture --rules $rules --seconds 5
else
	mkdir -p .cache/demo
	out=.cache/demo/$(basename $capture)
	printf '$ gfwd replay %s -o %s --rules %s\n\n' $capture "$out" $rules
	.venv/bin/gfwd replay $capture -o "$out" --rules $rules
	printf '\nWhat was forwarded lies in %s. As root, on Linux, this forwards live, between namespaces.\n' "$out"
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
