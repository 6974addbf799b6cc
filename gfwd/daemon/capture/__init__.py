"""Capture files for gfwd inspect, of every link type that exporters are seen on; the core reads Ethernet alone.

file.py      pcap and pcapng → frames, one at a time
source.py    … as gfwd inspect has them, from there or elsewhere
datagrams.py a frame → the UDP datagram in it, or a fragment of one
fragments.py fragments → datagrams, bounded
writer.py    frames → pcap
"""
