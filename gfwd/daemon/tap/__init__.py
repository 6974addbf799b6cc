"""Whoever looks at what a gfwd that runs forwards: gfwd inspect --live, gfwd run --debug, and gfwd itself.

want.py      what one looks for
plans.py     the plan in force, with those who look; and what the rule numbers of the last plans stand for
verdict.py   … in words: the rules, and who gets copies
taps.py      the core's records, to each his own
words.py     how they are told over a socket
streams.py   … to those who look from outside; they are told what they miss, and hold up nobody
live.py      the other end of that: frames, as from a capture
debug.py     … in a process beside a gfwd that is told to show what it does
"""
