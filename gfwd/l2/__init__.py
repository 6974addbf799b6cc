"""The next hops on the wire: which one a datagram takes, and the MAC address that it has.

arp.py        ARP frames (RFC 826): bytes → Arp → bytes
icmp.py       echo requests and replies, as raw sockets have them
neighbour.py  one neighbour's states, as a table: no I/O, no clock
routes.py     routes → the next hop for an address
kernel.py     Linux's interfaces, addresses, routes and neighbours, and the news of them
errors.py     what hostile bytes can raise
"""
