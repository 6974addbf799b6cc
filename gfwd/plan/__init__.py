"""The plan: rules, ports and collectors, compiled into the bytes that the core reads.

blueprint.py  what a plan is made from, beside the rules: ports, own addresses, ways to collectors
compile.py    blueprint → bytes
"""
