"""Rules: text → frozen objects → canonical text, and the space of (source, port) that they share out.

fields.py     the text of one field → its meaning
file.py       a file → its text
classic.py    the classic rules file → RuleSet
model.py      RuleSet, Rule, Prefix, Collector: frozen objects that every spelling of the rules ends in
canonical.py  RuleSet → the one text for it
portmap.py    port → rule number, as sorted ranges
space.py      RuleSet → RuleSpace: which rule wins where
porttree.py   port → best rule so far, as a tree that can take steps back
warnings.py   rules that can never win, and duplicates
repeats.py    collectors that are named twice for the same datagrams
suggest.py    exporters without a rule: the rules that would take their datagrams
explain.py    one datagram: the rules that apply, those that lose to them, those that it misses by little
diff.py       two RuleSets: which datagrams go somewhere else
moved.py      … the rules that are not the same in both
cover.py      … few prefixes instead of many
listen.py     rules that name more ports than gfwd listens on
"""
