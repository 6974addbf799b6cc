"""Counters: read from the core, and rendered.

ledger.py  the two ledgers, with collectors and rules by name
slots.py   which counter of the core counts what, while rules come and go
table.py   the ledgers as tables for people
unknown.py who sends what no rule wants, over all workers, and how much of it
families.py   all metrics for Prometheus: names, kinds, labels
exposition.py metrics → the text that Prometheus reads
guess.py   a datagram's first bytes → its protocol and version
words.py   numbers in sentences
"""
