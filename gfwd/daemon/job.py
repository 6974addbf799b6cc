"""What the operator asks a gfwd that runs to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gfwd.config.model import Config
from gfwd.config.port_name import PortName
from gfwd.errors import UsageError
from gfwd.rules.listen import named_ports
from gfwd.rules.model import Address, Ports, Prefix, RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What to forward.

    own: addresses that are ours; None: those that the inputs have. listen: UDP ports that are ours; None: those that
    the rules name. macs: of neighbours that are not to be asked for. cpus: one for each worker, or none. control: where
    the control socket is to be; None: nowhere.
    """

    rules: RuleSet
    inputs: tuple[PortName, ...]
    outputs: tuple[PortName, ...]
    own: tuple[Prefix, ...] | None = None
    listen: Ports | None = None
    macs: Mapping[Address, bytes] = field(default_factory=dict)
    workers: int = 1
    cpus: tuple[int, ...] = ()
    control: str | None = None


def job(config: Config) -> Run:
    """What a configuration asks for."""
    return Run(
        rules=config.rules,
        inputs=config.inputs,
        outputs=config.outputs,
        own=config.own,
        listen=config.listen,
        macs=config.macs,
        workers=config.workers,
        cpus=config.cpus,
        control=config.control,
    )


def listened_on(ruleset: RuleSet, listen: Ports | None) -> Ports:
    """The UDP ports that are ours. Raises UsageError where neither the rules nor the operator name one."""
    ports = listen or named_ports(ruleset)
    if not ports:
        raise UsageError(
            f"{ruleset.path}: error: no rule names a port, and on all of them gfwd would carry off answers to the "
            "host's own questions (DNS, NTP, DHCP)\nsay which are the exporters': --listen 514,2055,9990-9999; or, "
            "where the address is gfwd's alone, --listen all"
        )
    return ports
