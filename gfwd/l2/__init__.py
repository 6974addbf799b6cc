"""The next hops on the wire: which one a datagram takes, and the MAC address that it has. And our own addresses there.

Frames: bytes → meaning → bytes

    ethernet.py      headers and VLAN tags
    arp.py, rarp.py  ARP (RFC 826) and RARP (RFC 903)
    ip.py            IPv4 and IPv6 packets
    icmp_message.py  ICMP as it stands in packets; icmp.py: echo as raw sockets have it
    nd.py            IPv6 neighbour discovery (RFC 4861)
    hearing.py       which of these a frame is
    statement.py     what ARP and neighbour discovery say alike
    checksum.py, errors.py

What follows from them, without I/O or clock

    neighbour.py     one neighbour's states, as a table
    claim.py         one own address: is it really ours? As a table
    own.py           the own addresses of a port, and what is sent for them
    answers.py       what is answered there
    complaint.py     what exporters are told of their datagrams
    pace.py          how often something may be done
    routes.py        routes → the next hop for an address

The system: interfaces, addresses, routes and neighbours, and the news of them

    kernel.py        what linux.py and freebsd.py both have
"""
