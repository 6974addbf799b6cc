"""Counters: read from the core, and rendered.

ledger.py  the two ledgers, with collectors and rules by name
slots.py   which counter of the core counts what, while rules come and go
table.py   the ledgers as tables for people
words.py   numbers in sentences
"""
