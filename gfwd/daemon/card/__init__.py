"""The cards in order while gfwd runs, and put back: what a card does to frames by itself, up or down, promiscuous.

order.py    what is changed, said, and put back, whatever the system
record.py   what to put back, should gfwd not end properly
system.py   what that asks of the operating system, and the choice of the one at hand
linux.py    ethtool's features, flags, and membership in the promiscuous
freebsd.py  ifconfig's capabilities, flags, and a BPF device
"""
