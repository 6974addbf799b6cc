"""What touches the world: files, names, clocks, signals, sockets. All else in gfwd is told.

names.py      collectors' names → addresses, once at start
replay.py     the core from one capture file to another
bench.py      the core measured on memory rings
workload.py   the rules and frames that it is measured with
callgrind.py  instructions, counted
"""
