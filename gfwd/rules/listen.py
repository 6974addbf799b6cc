"""What gfwd listens on, against what the rules name: a `*` applies within the ports that gfwd listens on."""

from gfwd.errors import Problem, UsageError
from gfwd.rules.model import ALL_PORTS, Ports, RuleSet, merge_ports, ports_text
from gfwd.rules.portmap import together


def named_ports(ruleset: RuleSet) -> Ports:
    """The ports that the rules name, which is what gfwd listens on where nobody says otherwise; none for `*` alone."""
    return merge_ports(ports for rule in ruleset.rules if rule.ports != ALL_PORTS for ports in rule.ports)


def listened_on(ruleset: RuleSet, listen: Ports | None) -> Ports:
    """The UDP ports that are ours. Raises UsageError where neither the rules nor the operator (None) name one."""
    ports = listen or named_ports(ruleset)
    if not ports:
        raise UsageError(
            f"{ruleset.path}: error: no rule names a port, and on all of them gfwd would carry off answers to the "
            "host's own questions (DNS, NTP, DHCP)\nsay which are the exporters': --listen 514,2055,9990-9999; or, "
            "where the address is gfwd's alone, --listen all"
        )
    return ports


def narrowed(ruleset: RuleSet, listen: Ports) -> list[Problem]:
    """A warning for each rule of which some ports never arrive, since nobody listens there."""
    if listen == ALL_PORTS:
        return []
    return [
        Problem(ruleset.path, rule.line, 1, _text(rule.ports, listen), "warning")
        for rule in ruleset.rules
        if not _covers(listen, rule.ports)
    ]


def named_by_one(one: RuleSet, other: RuleSet) -> Ports:
    """The ports that the rules of `one` name, and those of `other` do not."""
    ours, theirs = (tuple((low, high, 0) for low, high in named_ports(ruleset)) for ruleset in (one, other))
    return merge_ports(
        (first, last)
        for first, last, (here, there) in together((ours, theirs), ALL_PORTS)
        if here is not None and there is None
    )


def _covers(listen: Ports, ports: Ports) -> bool:
    return all(any(first <= low and high <= last for first, last in listen) for low, high in ports)


def _text(ports: Ports, listen: Ports) -> str:
    if not any(low <= last and first <= high for first, last in listen for low, high in ports):
        return f"this rule gets nothing: gfwd does not listen on port {ports_text(ports)}, but on {ports_text(listen)}"
    return f"of port {ports_text(ports)}, this rule gets only what gfwd listens on: {ports_text(listen)}"
