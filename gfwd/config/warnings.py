"""Options that are allowed, but hardly do what was meant."""

from collections.abc import Iterator
from typing import Final

from gfwd.config.model import Config
from gfwd.errors import Problem
from gfwd.rules.model import Group, Ports, Rule, common_ports, holds_port

# NetFlow v9 (RFC 3954 §5.2) and IPFIX (RFC 7011 §8) have templates, without which data cannot be read. Exporters send
# them to any port, so what goes to another one than these may be theirs.
_WITHOUT_TEMPLATES: Final = (
    162,  # SNMP notifications (RFC 3417 §3.2)
    514,  # syslog (RFC 5426 §3.3)
    601,  # syslog (RFC 3195, for TCP; some take it for UDP)
    5514,  # syslog, by custom, for a receiver that is not root
    6343,  # sFlow (IANA's registry of ports)
    6514,  # syslog over DTLS (RFC 6012)
    10162,  # SNMP notifications over DTLS (RFC 6353)
)


def warnings(config: Config, heard: Ports) -> list[Problem]:
    """Remarks on the collectors and groups with a name, in the order of the lines. heard: what gfwd listens on."""
    found = [*_idle_backups(config), *_parted_templates(config, heard)]
    return sorted(Problem(config.path, config.lines[name], 1, text, "warning") for name, text in found)


def _idle_backups(config: Config) -> Iterator[tuple[str, str]]:
    for name, collector in config.collectors.items():
        options = collector.options
        if options is not None and options.backup and options.check is None:
            yield name, f'without a check, {name} counts as up, and its backup never steps in: write check = "icmp"'


def _parted_templates(config: Config, heard: Ports) -> Iterator[tuple[str, str]]:
    first_rules: dict[Group, Rule] = {}
    for rule in config.rules.rules:
        parting = [its for its in rule.receivers if isinstance(its, Group) and its.balance != "exporter"]
        if parting and _may_have_templates(common_ports(rule.ports, heard)):
            for group in parting:
                first_rules.setdefault(group, rule)
    for group, rule in first_rules.items():
        whose = " of exporters that send the two from different source ports" if group.balance == "flow" else ""
        yield (
            group.name,
            f'balance = "{group.balance}" would part templates from data{whose} (NetFlow v9 and IPFIX, by '
            f'{config.rules.path}:{rule.line}): use balance = "exporter"',
        )


def _may_have_templates(ports: Ports) -> bool:
    """Whether there is a port that is not known to be for something else."""
    return sum(last - first + 1 for first, last in ports) > sum(holds_port(ports, port) for port in _WITHOUT_TEMPLATES)
