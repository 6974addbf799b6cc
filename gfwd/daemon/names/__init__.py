"""The names of collectors are asked for here: sockets, files and threads. gfwd/dns knows what to ask and what it means.

once.py      a name looked up once, by who is no gfwd that runs
sources.py   whom to ask: gfwd.toml, resolv.conf, the hosts file
exchange.py  questions to one server, and its answers: UDP, TCP, TLS
resolver.py  one lookup: servers in turn, the search list, aliases
asker.py     lookups in threads of their own
names.py     the names of a gfwd that runs, and what is said of them
usable.py    which addresses a collector can have
"""
