"""The lab: a small network in namespaces, in which the real gfwd forwards, and what arrives is held against the rules.

session.py    all of the below, brought together; and the verdict
scene.py      who stands where, and what should arrive where
traffic.py    what the exporters send
host.py       a host and its cables
network.py    the hosts of the lab, and their sockets
forwarder.py  gfwd, as a process of its own
exchange.py   sending and receiving
arrivals.py   what arrived, against what was sent
"""
