# What fish completes after gfwd. Made by build/completion.py.

# Whether the line so far is of this command, such as `bench core`.
function __gfwd_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l number (count $argv)
    test (count $words) -ge $number; and test "$words[1..$number]" = "$argv"
end

# Whether nothing but this command is there yet.
function __gfwd_only
    set -l words (commandline -opc)
    set -e words[1]
    test "$words" = "$argv"
end

# Whether more is there behind this command.
function __gfwd_behind
    __gfwd_at $argv; and not __gfwd_only $argv
end

function __gfwd_ports
    for interface in /sys/class/net/*
        echo xdp:(string replace -r '.*/' '' $interface)
    end
end

complete -c gfwd -f
complete -c gfwd -n __gfwd_only -a run -d 'forward, from now until it is told to stop'
complete -c gfwd -n __gfwd_only -a status -d 'how a gfwd that runs stands: what it has forwarded, dropped and why'
complete -c gfwd -n __gfwd_only -a neighbours -d 'the next hops of a gfwd that runs, and their MACs'
complete -c gfwd -n __gfwd_only -a reload -d 'have a gfwd that runs read its rules anew'
complete -c gfwd -n __gfwd_only -a stop -d 'end a gfwd that runs'
complete -c gfwd -n __gfwd_only -a names -d 'the names of collectors in a gfwd that runs, and their addresses'
complete -c gfwd -n __gfwd_only -a unknown -d 'who sends to a gfwd that runs what no rule wants: its source, port, protocol and rate'
complete -c gfwd -n __gfwd_only -a replay -d 'forward a capture file to another, and show the accounting'
complete -c gfwd -n __gfwd_only -a check -d 'validate a configuration, or a rules file'
complete -c gfwd -n __gfwd_only -a explain -d 'which rules apply to a datagram, why, and what leaves'
complete -c gfwd -n __gfwd_only -a diff -d 'which exporters and ports change their collectors, from one rules file to another'
complete -c gfwd -n __gfwd_only -a import -d 'turn a configuration of samplicator, pmacct or nfcapd into rules'
complete -c gfwd -n __gfwd_only -a inspect -d 'what the NetFlow, IPFIX, sFlow, syslog and SNMP datagrams in a capture, or through a gfwd that runs, say'
complete -c gfwd -n __gfwd_only -a doctor -d 'what on this host would hurt, and what mends it'
complete -c gfwd -n __gfwd_only -a lab -d 'try it all on this machine: exporters, gfwd and collectors in a network of their own'
complete -c gfwd -n __gfwd_only -a bench -d 'measure on this machine'
complete -c gfwd -n __gfwd_only -s h -l help -d 'show this help message and exit'
complete -c gfwd -n __gfwd_only -l version -d 'print version and build, and exit'
complete -c gfwd -n __gfwd_only -l licences -d 'print the licences of all that is in this, and exit'
complete -c gfwd -n '__gfwd_at run' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at run' -s c -l config -r -F -d 'a gfwd.toml, which says all of the following'
complete -c gfwd -n '__gfwd_at run' -l rules -r -F -d 'the rules file'
complete -c gfwd -n '__gfwd_at run' -l in -r -f -a '(__gfwd_ports)' -d 'a port that exporters send to'
complete -c gfwd -n '__gfwd_at run' -l out -r -f -a '(__gfwd_ports)' -d 'a port that leads to collectors'
complete -c gfwd -n '__gfwd_at run' -l port -r -f -a '(__gfwd_ports)' -d 'a port for both'
complete -c gfwd -n '__gfwd_at run' -l address -r -f -d 'an address that exporters send to, or a whole network'
complete -c gfwd -n '__gfwd_at run' -l listen -r -f -d 'UDP ports that are gfwd\'s: 514,2055,9990-9999 or all'
complete -c gfwd -n '__gfwd_at run' -l loss -r -f -d 'UDP ports on which sequence numbers are followed, for gfwd status --loss: 2055,4739,6343 or all'
complete -c gfwd -n '__gfwd_at run' -l mac -r -f -d 'a neighbour\'s MAC, which then is not asked for'
complete -c gfwd -n '__gfwd_at run' -l workers -r -f -d 'threads that forward'
complete -c gfwd -n '__gfwd_at run' -l cpu -r -f -d 'the CPU for each worker'
complete -c gfwd -n '__gfwd_at run' -l control -r -F -d 'a Unix socket for gfwd status, unknown, names, reload, stop and neighbours, for this user only'
complete -c gfwd -n '__gfwd_at run' -l json -d 'the accounting as one line of JSON'
complete -c gfwd -n '__gfwd_at run' -l debug -d 'show what is forwarded, and what is not: the lines of gfwd inspect --live'
complete -c gfwd -n '__gfwd_at run' -l sample -r -f -d 'of these, one datagram of N'
complete -c gfwd -n '__gfwd_at status' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at status' -s c -l config -r -F -d 'the gfwd.toml that it was started with'
complete -c gfwd -n '__gfwd_at status' -l control -r -F -d 'the control socket that it was started with'
complete -c gfwd -n '__gfwd_at status' -l loss -d 'what never came, by exporters\' sequence numbers, and what gfwd lost itself'
complete -c gfwd -n '__gfwd_at status' -l json -d 'as one line of JSON'
complete -c gfwd -n '__gfwd_at neighbours' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at neighbours' -s c -l config -r -F -d 'the gfwd.toml that it was started with'
complete -c gfwd -n '__gfwd_at neighbours' -l control -r -F -d 'the control socket that it was started with'
complete -c gfwd -n '__gfwd_at neighbours' -l json -d 'as one line of JSON'
complete -c gfwd -n '__gfwd_at reload' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at reload' -s c -l config -r -F -d 'the gfwd.toml that it was started with'
complete -c gfwd -n '__gfwd_at reload' -l control -r -F -d 'the control socket that it was started with'
complete -c gfwd -n '__gfwd_at reload' -l dry-run -d 'only say whether it could'
complete -c gfwd -n '__gfwd_at stop' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at stop' -s c -l config -r -F -d 'the gfwd.toml that it was started with'
complete -c gfwd -n '__gfwd_at stop' -l control -r -F -d 'the control socket that it was started with'
complete -c gfwd -n '__gfwd_at names' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at names' -s c -l config -r -F -d 'the gfwd.toml that it was started with'
complete -c gfwd -n '__gfwd_at names' -l control -r -F -d 'the control socket that it was started with'
complete -c gfwd -n '__gfwd_at names' -l json -d 'as one line of JSON'
complete -c gfwd -n '__gfwd_at unknown' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at unknown' -s c -l config -r -F -d 'the gfwd.toml that it was started with'
complete -c gfwd -n '__gfwd_at unknown' -l control -r -F -d 'the control socket that it was started with'
complete -c gfwd -n '__gfwd_at unknown' -l suggest -d 'the rules that would take it, ready to be pasted'
complete -c gfwd -n '__gfwd_at unknown' -l sort -r -f -a 'rate packets last' -d 'what comes first: the highest of these'
complete -c gfwd -n '__gfwd_at unknown' -l since -r -f -d 'only who has sent something in the last 30s, 10m, 12h or 7d'
complete -c gfwd -n '__gfwd_at unknown' -l json -d 'as one line of JSON'
complete -c gfwd -n '__gfwd_at replay' -F
complete -c gfwd -n '__gfwd_at replay' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at replay' -s o -l output -r -F -d 'what leaves for the collectors'
complete -c gfwd -n '__gfwd_at replay' -l rules -r -F -d 'the rules file'
complete -c gfwd -n '__gfwd_at replay' -s c -l config -r -F -d 'a gfwd.toml, whose rules, address and listen count'
complete -c gfwd -n '__gfwd_at replay' -l json -d 'the accounting as one line of JSON'
complete -c gfwd -n '__gfwd_at replay' -l address -r -f -d 'an address of ours, or a whole network'
complete -c gfwd -n '__gfwd_at replay' -l listen -r -f -d 'UDP ports that are ours: 514,2055,9990-9999 or all'
complete -c gfwd -n '__gfwd_at replay' -l neighbour -r -f -d 'a collector\'s MAC'
complete -c gfwd -n '__gfwd_at check' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at check' -s c -l config -r -F -d 'the gfwd.toml'
complete -c gfwd -n '__gfwd_at check' -l rules -r -F -d 'the rules file'
complete -c gfwd -n '__gfwd_at check' -l all -d 'print all warnings, and not only the first 20'
complete -c gfwd -n '__gfwd_at check' -l print -d 'print all in canonical form'
complete -c gfwd -n '__gfwd_at check' -l json -d 'rules, collectors and all problems as one line of JSON'
complete -c gfwd -n '__gfwd_at explain' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at explain' -s c -l config -r -F -d 'the gfwd.toml'
complete -c gfwd -n '__gfwd_at explain' -l rules -r -F -d 'the rules file'
complete -c gfwd -n '__gfwd_at explain' -l listen -r -f -d 'UDP ports that are gfwd\'s: 514,2055,9990-9999 or all'
complete -c gfwd -n '__gfwd_at explain' -l source-port -r -f -d 'the port that the exporter sends from: it says which member of a group with balance = "flow" gets it'
complete -c gfwd -n '__gfwd_at explain' -l live -d 'ask the gfwd that runs by this gfwd.toml for next hops and their MACs, and who is down'
complete -c gfwd -n '__gfwd_at explain' -l all -d 'all rules that lose, and not only the first 20'
complete -c gfwd -n '__gfwd_at explain' -l json -d 'a line of JSON for each datagram'
complete -c gfwd -n '__gfwd_at diff' -F
complete -c gfwd -n '__gfwd_at diff' -F
complete -c gfwd -n '__gfwd_at diff' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at diff' -l traffic -r -F -d 'say it for the exporters and ports in this capture'
complete -c gfwd -n '__gfwd_at diff' -l listen -r -f -d 'UDP ports that are gfwd\'s, others being left out: 514,2055,9990-9999 or all'
complete -c gfwd -n '__gfwd_at diff' -l all -d 'all of it, and not only the first 20 of everything'
complete -c gfwd -n '__gfwd_at diff' -l json -d 'one line of JSON, with all of it'
complete -c gfwd -n '__gfwd_only import' -f -a 'samplicator pmacct nfcapd'
complete -c gfwd -n '__gfwd_behind import' -F
complete -c gfwd -n '__gfwd_at import' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at import' -l port -r -f -d 'the UDP ports that exporters send to: 2055,9990-9999 or all'
complete -c gfwd -n '__gfwd_at import' -l all -d 'print all warnings, and not only the first 20'
complete -c gfwd -n '__gfwd_at import' -l json -d 'rules and remarks as one line of JSON'
complete -c gfwd -n '__gfwd_at inspect' -F
complete -c gfwd -n '__gfwd_at inspect' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at inspect' -l live -d 'what goes through the gfwd that -c or --control names'
complete -c gfwd -n '__gfwd_at inspect' -s c -l config -r -F -d 'the gfwd.toml that it was started with'
complete -c gfwd -n '__gfwd_at inspect' -l control -r -F -d 'the control socket that it was started with'
complete -c gfwd -n '__gfwd_at inspect' -l rule -r -f -d 'only what met this rule: its line, or FILE:LINE as gfwd status shows it'
complete -c gfwd -n '__gfwd_at inspect' -s v -l verbose -d 'the records and templates of each datagram, too'
complete -c gfwd -n '__gfwd_at inspect' -l summary -d 'a line for each exporter instead'
complete -c gfwd -n '__gfwd_at inspect' -l loss -d 'a line for each exporter, source port and domain instead: lost on the way to the capture, re-ordered, doubled, restarted, by their sequence numbers'
complete -c gfwd -n '__gfwd_at inspect' -l json -d 'one JSON object a line'
complete -c gfwd -n '__gfwd_at inspect' -s p -r -f -d 'what is sent to a port, where the bytes do not tell: netflow, ipfix, sflow, syslog, snmp'
complete -c gfwd -n '__gfwd_at inspect' -l exporter -r -f -d 'only what this exporter, or network, has sent'
complete -c gfwd -n '__gfwd_at inspect' -l port -r -f -d 'only what was sent to these: 2055,9990-9999'
complete -c gfwd -n '__gfwd_at inspect' -l count -r -f -d 'stop after so many datagrams'
complete -c gfwd -n '__gfwd_at inspect' -l sample -r -f -d 'one datagram of N'
complete -c gfwd -n '__gfwd_at inspect' -s w -r -F -d 'write what matched to a pcap file, too'
complete -c gfwd -n '__gfwd_at doctor' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at doctor' -s c -l config -r -F -d 'a gfwd.toml, which says all of the following'
complete -c gfwd -n '__gfwd_at doctor' -l rules -r -F -d 'the rules file'
complete -c gfwd -n '__gfwd_at doctor' -l in -r -f -a '(__gfwd_ports)' -d 'a port that exporters send to'
complete -c gfwd -n '__gfwd_at doctor' -l out -r -f -a '(__gfwd_ports)' -d 'a port that leads to collectors'
complete -c gfwd -n '__gfwd_at doctor' -l port -r -f -a '(__gfwd_ports)' -d 'a port for both'
complete -c gfwd -n '__gfwd_at doctor' -l address -r -f -d 'an address that exporters send to, or a whole network'
complete -c gfwd -n '__gfwd_at doctor' -l listen -r -f -d 'UDP ports that are gfwd\'s: 514,2055,9990-9999 or all'
complete -c gfwd -n '__gfwd_at doctor' -l loss -r -f -d 'UDP ports on which sequence numbers are followed, for gfwd status --loss: 2055,4739,6343 or all'
complete -c gfwd -n '__gfwd_at doctor' -l mac -r -f -d 'a neighbour\'s MAC, which then is not asked for'
complete -c gfwd -n '__gfwd_at doctor' -l workers -r -f -d 'threads that forward'
complete -c gfwd -n '__gfwd_at doctor' -l cpu -r -f -d 'the CPU for each worker'
complete -c gfwd -n '__gfwd_at doctor' -l json -d 'all findings as one line of JSON'
complete -c gfwd -n '__gfwd_at lab' -F
complete -c gfwd -n '__gfwd_at lab' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at lab' -l rate -r -f -d 'datagrams a second'
complete -c gfwd -n '__gfwd_at lab' -l seconds -r -f -d 'for so long'
complete -c gfwd -n '__gfwd_at lab' -l rules -r -F -d 'the rules file'
complete -c gfwd -n '__gfwd_at lab' -l json -d 'only the outcome, as one line of JSON'
complete -c gfwd -n '__gfwd_only bench' -a core -d 'the core on rings in memory: what a packet costs'
complete -c gfwd -n '__gfwd_only bench' -a counted -d ''
complete -c gfwd -n '__gfwd_at bench' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at bench core' -s h -l help -d 'show this help message and exit'
complete -c gfwd -n '__gfwd_at bench core' -l json -d 'a line of JSON for each case, as soon as it is measured'
complete -c gfwd -n '__gfwd_at bench core' -l instructions -d 'count instructions too, where valgrind is installed'
complete -c gfwd -n '__gfwd_at bench core' -l repeats -r -f -d 'measure so often'
complete -c gfwd -n '__gfwd_at bench core' -l rounds -r -f -d 'full rings a measurement, 1,023 packets each'
complete -c gfwd -n '__gfwd_at bench core' -l case -r -f -d 'measure this case, not the usual ones: rules, collectors, exporters, frame_bytes, flood'
complete -c gfwd -n '__gfwd_at bench counted' -F
complete -c gfwd -n '__gfwd_at bench counted' -s h -l help -d 'show this help message and exit'
