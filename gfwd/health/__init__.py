"""Whether collectors are there, by what tries say: no I/O, and the time is an argument.

machine.py  one collector's states, as a table
watch.py    … with its schedule, and what is known of its last try
words.py    a check and its results, for people
"""
