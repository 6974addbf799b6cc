"""Names of collectors → addresses: no I/O, and time and answers are arguments. daemon/names does the asking.

answers.py  questions and answers of the DNS as bytes
servers.py  resolv.conf and hosts files: whom to ask, for what, and what need not be asked
records.py  a name's addresses of one family, as a table of states
name.py     one name: when to ask, and what holds by the answers so far
choice.py   in which order its addresses count, and which of them copies go to
"""
