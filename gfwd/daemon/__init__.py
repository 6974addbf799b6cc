"""What touches the world: files, names, clocks, signals, sockets. All else in gfwd is told.

run.py         the core between interfaces, from its setting up to its end
forwarder.py   … and while it runs: routes, neighbours and links are followed
log/           what gfwd says meanwhile, and where that goes
health.py      which collectors are down, by tries
probe/         the tries: echo requests, connections, GETs
ports.py       an open port, of whatever kind
xdp_ports.py   ports of AF_XDP, opened
netmap_ports.py ports of netmap, opened
card/          the cards in order while gfwd runs, and put back
ways.py        routes → the port and the neighbour that a copy leaves by
neighbours.py  the machines of all neighbours, and whom they ask
workers.py     workers in threads
watch.py       files that are watched
notify.py      what a service manager is told
signals.py     signals as something to wait for
names.py       collectors' names → addresses, once at start
doctor/        what on this host would hurt, and what mends it
accounts.py    the core's ledgers, under the names of the rules
explain.py     what would leave for the collectors of one datagram
traffic.py     who sends to which port in a capture
inspect.py     what the datagrams in a capture, or through a gfwd that runs, say
tap/           … through a gfwd that runs: who looks at which, and what he is told
capture/       captures of every common link type, for that
replay.py      the core from one capture file to another
lab/           a network in namespaces, to see all of that at work
namespaces.py  network namespaces without a name
bench.py       the core measured on memory rings
workload.py    the rules and frames that it is measured with
callgrind.py   instructions, counted
"""
