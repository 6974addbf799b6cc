"""Counters: read from the core, and rendered.

ledger.py  the two ledgers, with collectors and rules by name
table.py   the ledgers as tables for people
"""
