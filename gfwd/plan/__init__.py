"""The plan: rules, ports and collectors, compiled into the bytes that the core reads.

blueprint.py  what a plan is made from, beside the rules: ports, own addresses, ways to collectors
targets.py    outcomes of the rules → who gets copies, and how
getters.py    who gets copies while some collectors are down
places.py     collectors that stand for several places
shares.py     who of a group gets which exporters
compile.py    blueprint → bytes
"""
