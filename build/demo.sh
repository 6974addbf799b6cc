#!/bin/sh
# Forwards real captures by the demo's rules, through the real core, and shows the accounting.
set -eu

mkdir -p .cache/demo
for capture in tests/data/exporters.pcap ../shared/corpus/thesis/netflow-pcap.pcap; do
	[ -e "$capture" ] || continue
	out=.cache/demo/$(basename "$capture")
	printf '\n$ gfwd replay %s -o %s --rules tests/data/demo.rules\n\n' "$capture" "$out"
	.venv/bin/gfwd replay "$capture" -o "$out" --rules tests/data/demo.rules
done
cat <<'END'

What was forwarded lies in .cache/demo/. Where to look next:
  tests/data/demo.rules        the rules; change one, and run this again
  tests/data/README.md         who sent what in the capture
  .venv/bin/gfwd replay -h     with captures and rules of your own
  docs/rules.md                what a rules file may say
  docs/packets.md              why a frame was passed or dropped
END
