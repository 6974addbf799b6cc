"""gfwd.toml: all that gfwd is told before it starts. Text → a frozen object → canonical text.

model.py        Config: the frozen object
keys.py         every key: its kind, what it means, what goes together. Whoever adds one begins here
collector_keys.py, rule_keys.py, exporter_keys.py  … those of the tables that collectors, rules and exporters have
kinds.py        the kinds of values: text, numbers, lists, tables
values.py       the text of one value → its meaning, for the command line, too
port_name.py    a port as the operator names it
collectors.py   collectors and groups by name
reading.py      a file → Config, or all that is wrong with it
document.py     … its text → data, or all that keeps it from being TOML
statements.py   … cut into statements
places.py       … and where each key and value stands
warnings.py     options that hardly do what was meant
flaws.py        what is wrong with values, in words, and where
canonical.py    Config → the one text for it
json_schema.py  the keys for editors (packaging/gfwd.schema.json)
"""
