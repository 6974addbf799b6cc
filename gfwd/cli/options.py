"""Values that several commands take on their command line. What is wrong with one, argparse prints, with status 2."""

import argparse
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar

from gfwd.config import values
from gfwd.config.port_name import PortName
from gfwd.errors import UsageError
from gfwd.rules.model import LAST_PORT, Address

if TYPE_CHECKING:
    from gfwd.config.model import Config, DnsSetting
    from gfwd.rules.model import Ports, RuleSet

_T = TypeVar("_T")


def add_forwarding(parser: argparse.ArgumentParser) -> None:
    """What says which datagrams gfwd is to forward, from where to where, and by how many workers."""
    parser.add_argument("-c", "--config", metavar="FILE", help="a gfwd.toml, which says all of the following")
    parser.add_argument("--rules", metavar="FILE", help="the rules file")
    for option, dest, meaning in (
        ("--in", "inputs", "a port that exporters send to; may be given more than once"),
        ("--out", "outputs", "a port that leads to collectors; may be given more than once"),
        ("--port", "both", "a port for both"),
    ):
        parser.add_argument(
            option, dest=dest, metavar="PORT", type=value(values.port), action="append", default=[], help=meaning
        )
    parser.add_argument(
        "--address",
        metavar="IP[/LEN]",
        type=value(values.own_prefix),
        action="append",
        help="an address that exporters send to, or a whole network; may be given more than once (default: those that "
        "the kernel has on the ports that exporters send to)",
    )
    parser.add_argument(
        "--listen",
        metavar="PORTS",
        type=value(values.listen),
        help="UDP ports that are gfwd's: 514,2055,9990-9999 or all (default: those that the rules name)",
    )
    parser.add_argument(
        "--loss",
        metavar="PORTS",
        type=value(values.listen),
        help="UDP ports on which sequence numbers are followed, for gfwd status --loss: 2055,4739,6343 or all "
        "(default: none)",
    )
    parser.add_argument(
        "--mac",
        metavar="IP=MAC",
        type=value(values.neighbour),
        action="append",
        default=[],
        help="a neighbour's MAC, which then is not asked for; the neighbour is the collector, or the gateway before it",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=value(values.count),
        help="threads that forward (default: one for each --cpu, or one)",
    )
    parser.add_argument("--cpu", metavar="N,…", type=value(values.cpus), default=(), help="the CPU for each worker")


def config(arguments: argparse.Namespace, command: str) -> "Config":
    """What is to be forwarded, be it said by -c or by all the other options.

    Raises UsageError where it is said by both, or not all is said, and ConfigError where a file is wrong.
    """
    from gfwd.config import reading
    from gfwd.config.model import Config
    from gfwd.rules import classic

    if arguments.config is not None:
        refuse_beside_config(arguments, command)
        return reading.load(arguments.config)
    if arguments.rules is None:
        raise UsageError(f"{command}: error: there is neither -c nor --rules; right would be -c gfwd.toml")
    inputs, outputs = ports(arguments)
    if not inputs or not outputs:
        missing = "--in" if not inputs else "--out"
        raise UsageError(
            f"{command}: error: there is no {missing}; right would be {missing} xdp:eth0, or --port xdp:eth0 for both"
        )
    return Config(
        path=arguments.rules,
        rules=classic.load(arguments.rules),
        inputs=inputs,
        outputs=outputs,
        own=tuple(arguments.address) if arguments.address else None,
        listen=arguments.listen,
        loss=arguments.loss,
        macs=dict(arguments.mac),
        workers=workers(arguments),
        cpus=arguments.cpu,
        control=getattr(arguments, "control", None),
    )


def ruleset(arguments: argparse.Namespace) -> tuple["RuleSet", "Ports | None", list[Address], "DnsSetting"]:
    """The rules of -c or --rules, and what the former says of `listen`, of gfwd's own single addresses, and of names.
    Raises ConfigError.
    """
    from gfwd.config import reading
    from gfwd.config.model import DnsSetting
    from gfwd.rules import classic

    if arguments.config is None:
        return classic.load(arguments.rules), None, [], DnsSetting()
    its = reading.load(arguments.config)
    own = [Address(prefix.family, prefix.value) for prefix in its.own or () if prefix.size == 1]
    return its.rules, its.listen, own, its.dns


def refuse_beside_config(arguments: argparse.Namespace, command: str) -> None:
    """Two sources for the same would leave it open which of them counts."""
    beside = {
        "--rules": arguments.rules,
        "--in": arguments.inputs,
        "--out": arguments.outputs,
        "--port": arguments.both,
        "--address": arguments.address,
        "--listen": arguments.listen,
        "--loss": arguments.loss,
        "--mac": arguments.mac,
        "--workers": arguments.workers,
        "--cpu": arguments.cpu,
        "--control": getattr(arguments, "control", None),
    }
    given = ", ".join(option for option, meaning in beside.items() if meaning)
    if given:
        raise UsageError(f"{command}: error: -c {arguments.config} says it all: write {given} there, or leave out -c")


def workers(arguments: argparse.Namespace) -> int:
    """How many there are to be."""
    return arguments.workers or len(arguments.cpu) or 1


def ports(arguments: argparse.Namespace) -> tuple[tuple[PortName, ...], tuple[PortName, ...]]:
    """The ports that exporters send to, and those that lead to collectors, each once."""
    inputs, outputs = (
        tuple(dict.fromkeys((*ports, *arguments.both))) for ports in (arguments.inputs, arguments.outputs)
    )
    return inputs, outputs


def value(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """Make argparse print what `parse` has to say, instead of its own "invalid value"."""

    def typed(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed


def udp_port(text: str) -> int:
    """A port that a datagram may come from; 0 is one, too (RFC 768)."""
    if not _is_udp_port(text):
        raise ValueError(f"{text!r} is no port; right would be a number from 0 to {LAST_PORT}")
    return int(text)


def datagram(text: str) -> tuple[Address, int]:
    """SRC:DPORT: an exporter's address, one of IPv6 in brackets, and the port that it sends to."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if is_bracketed else host)
    except ValueError:
        address = None
    if not colon or address is None or not _is_udp_port(port) or is_bracketed != (address.version == 6) or "%" in host:
        raise ValueError(f"{text!r} is not SRC:DPORT; right would be 10.2.2.3:514 or [2001:db8::3]:514")
    return Address(4 if address.version == 4 else 6, int(address)), int(port)


def _is_udp_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= LAST_PORT
