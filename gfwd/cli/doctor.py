"""gfwd doctor: what on this host would hurt, and what mends it."""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gfwd.cli import options
from gfwd.config.port_name import PortName
from gfwd.metrics.words import many

if TYPE_CHECKING:
    from gfwd.daemon.doctor import Asked
    from gfwd.daemon.ports import Wanted


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="what on this host would hurt, and what mends it",
        description="Takes the arguments of gfwd run, and says what on this host would keep it from forwarding, or "
        "would hurt, each with the command that mends it where there is one. Without ports: what there is to say of "
        "the host, and which interfaces could be ports. It changes nothing. Exit status: 0 nothing hurts, 1 something "
        "does, 2 bad usage or bad rules.",
    )
    options.add_forwarding(parser)
    parser.add_argument("--json", action="store_true", help="all findings as one line of JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from gfwd.daemon.doctor import Severity, examine

    findings = examine(_asked(arguments))
    counts = Counter(finding.severity for finding in findings)
    hurts = bool(counts[Severity.ERROR] or counts[Severity.WARNING])
    if arguments.json:
        numbers = {f"{severity.value}s": counts[severity] for severity in Severity}
        print(json.dumps({**numbers, "findings": [finding.as_json() for finding in findings]}))
    else:
        for finding in findings:
            print(finding)
        numbers_text = ", ".join(many(counts[severity], severity.value) for severity in Severity if counts[severity])
        print("gfwd doctor:", ": ".join(filter(None, ["" if hurts else "fine", numbers_text])))
    return 1 if hurts else 0


def _asked(arguments: argparse.Namespace) -> "Asked":
    """What gfwd run would be told; without -c, none of it is needed here."""
    from gfwd.daemon.doctor import Asked
    from gfwd.rules import classic
    from gfwd.rules.listen import listened_on

    if arguments.config is not None:
        config = options.config(arguments, "gfwd doctor")
        return Asked(
            rules=config.rules,
            ports=_wanted(config.inputs, config.outputs),
            own=config.own,
            fixed=frozenset(config.macs),
            gateways=config.gateways,
            vlans={str(name): number for name, number in config.vlans.items()},
            workers=config.workers,
            cpus=config.cpus,
            metrics=config.listeners.metrics,
            dns=config.dns,
        )
    ruleset = classic.load(arguments.rules) if arguments.rules else None
    if ruleset is not None:
        listened_on(ruleset, arguments.listen)
    return Asked(
        rules=ruleset,
        ports=_wanted(*options.ports(arguments)),
        own=tuple(arguments.address) if arguments.address else None,
        fixed=frozenset(dict(arguments.mac)),
        workers=options.workers(arguments),
        cpus=arguments.cpu,
    )


def _wanted(inputs: Sequence[PortName], outputs: Sequence[PortName]) -> "tuple[Wanted, ...]":
    from gfwd.daemon.ports import Wanted

    return tuple(Wanted(name, name in inputs, name in outputs) for name in dict.fromkeys((*inputs, *outputs)))
