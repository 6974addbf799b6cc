#!/bin/sh
# Forwards captures by the demo's rules, as `gfwd run` would forward the traffic itself, and shows the accounting.
set -eu

mkdir -p .cache/demo
for capture in tests/data/softflowd-v9.pcap ../shared/corpus/thesis/netflow-pcap.pcap; do
	[ -e "$capture" ] || continue
	out=.cache/demo/$(basename "$capture")
	echo "\$ gfwd replay $capture -o $out --rules tests/data/demo.rules"
	.venv/bin/gfwd replay "$capture" -o "$out" --rules tests/data/demo.rules
done
