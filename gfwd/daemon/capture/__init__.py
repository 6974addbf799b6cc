"""Capture files for gfwd inspect, of every link type that exporters are seen on; the core reads Ethernet alone.

file.py      pcap and pcapng → frames, one at a time
datagrams.py a frame → the UDP datagram in it
writer.py    frames → pcap
"""
