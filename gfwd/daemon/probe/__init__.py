"""One try to find out whether a collector is there, by the host's own stack and routes. Each takes the time it takes.

prober.py  tries in threads of their own, so that nobody waits for them
icmp.py    an echo request
tcp.py     a connection
http.py    a GET
"""
