"""Other forwarders' configurations → gfwd's rules, with a remark on all that has no meaning here, or another one.

samplicator.py  samplicator's configuration file, or the command line of samplicate
pmacct.py       nfacctd or sfacctd with the tee plugin: configuration and receivers file
pre_tag_map.py  pmacct's map from exporters to tags, where rules can say the same
nfcapd.py       the command line of nfcapd or sfcapd, or a file that holds it
command.py      a command line → its options, as getopt(3) reads them
receivers.py    a receiver, as the others write it → a collector
entries.py      what all of them end in: which sources go to which collectors
sources.py      entries → rules, of which exactly one wins
imported.py     the outcome and its text
report.py       remarks and errors, gathered while something is read
"""
