"""What gfwd says while it runs: one event after another, as lines, to wherever the operator wants them.

event.py    an event, and what there is to be said of it
events.py   all events that there are; docs/log.md is about each
lines.py    an event → lines of text, or a line of JSON
outputs.py  where lines go: standard error, syslog, a file
writer.py   the thread that takes events there, so that nobody waits for it
"""
