"""Values that several commands take on their command line. What is wrong with one, argparse prints, with status 2."""

import argparse
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_interface
from typing import TypeVar

from gfwd.daemon.port_name import PortName
from gfwd.rules.fields import FieldError, parse_ports
from gfwd.rules.model import ALL_PORTS, LAST_PORT, Address, Ports, Prefix

_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_T = TypeVar("_T")


def add_forwarding(parser: argparse.ArgumentParser, *, needs_rules: bool) -> None:
    """What says which datagrams gfwd is to forward, from where to where, and by how many workers."""
    parser.add_argument("--rules", metavar="FILE", required=needs_rules, help="the rules file")
    parser.add_argument(
        "--in",
        dest="inputs",
        metavar="PORT",
        type=value(port),
        action="append",
        default=[],
        help="a port that exporters send to; may be given more than once",
    )
    parser.add_argument(
        "--out",
        dest="outputs",
        metavar="PORT",
        type=value(port),
        action="append",
        default=[],
        help="a port that leads to collectors; may be given more than once",
    )
    parser.add_argument(
        "--port", dest="both", metavar="PORT", type=value(port), action="append", default=[], help="a port for both"
    )
    parser.add_argument(
        "--address",
        metavar="IP[/LEN]",
        type=value(own_prefix),
        action="append",
        help="an address that exporters send to, or a whole network; may be given more than once (default: those that "
        "the kernel has on the ports that exporters send to)",
    )
    parser.add_argument(
        "--listen",
        metavar="PORTS",
        type=value(listen),
        help="UDP ports that are gfwd's: 514,2055,9990-9999 or all (default: those that the rules name)",
    )
    parser.add_argument(
        "--mac",
        metavar="IP=MAC",
        type=value(neighbour),
        action="append",
        default=[],
        help="a neighbour's MAC, which then is not asked for; the neighbour is the collector, or the gateway before it",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=value(count),
        help="threads that forward (default: one for each --cpu, or one)",
    )
    parser.add_argument("--cpu", metavar="N,…", type=value(cpus), default=(), help="the CPU for each worker")


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


def count(text: str) -> int:
    """A number from 1 up."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{text!r} is not a number from 1 up")
    return int(text)


def port(text: str) -> PortName:
    """xdp:INTERFACE, netmap:NAME, netmap:NAME*, valeX:NAME."""
    kind, _, name = text.partition(":")
    if kind == "xdp" and _is_interface(name):
        return PortName("xdp", name)
    if kind == "netmap" and name and not name.endswith("^"):
        return PortName("netmap", text.removesuffix("*"), text.endswith("*"))
    if kind.startswith("vale") and name:
        return PortName("vale", text)
    raise ValueError(
        f"{text!r} is no port; right would be xdp:eth0 (AF_XDP, Linux), netmap:ix0, 'netmap:ix0*' (with the host), "
        "netmap:x{1 or vale0:a"
    )


def _is_interface(name: str) -> bool:
    """linux/if.h: IFNAMSIZ counts the final zero; dev_valid_name() has the rest."""
    return 0 < len(name.encode()) < 16 and name not in (".", "..") and not any(c in "/:" or c.isspace() for c in name)


def cpus(text: str) -> tuple[int, ...]:
    """CPU numbers, separated by commas."""
    numbers = text.split(",")
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise ValueError(f"{text!r} are no numbers of CPUs; right would be 2 or 2,3")
    return tuple(map(int, numbers))


def own_prefix(text: str) -> Prefix:
    """ADDRESS[/LENGTH]: an address of ours; where it is the first of its network, the whole network is ours."""
    try:
        interface = ip_interface(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address and no prefix; right would be 192.0.2.1 or 192.0.2.0/24") from None
    family = interface.version
    address, length = int(interface.ip), interface.network.prefixlen
    if address != int(interface.network.network_address):
        length = interface.max_prefixlen
    return Prefix(4 if family == 4 else 6, address, length)


def listen(text: str) -> Ports:
    """Ports and ranges, separated by commas, or `all`."""
    if text == "all":
        return ALL_PORTS
    try:
        return parse_ports(text)
    except FieldError as error:
        raise ValueError(f"{error}; or all") from None


def datagram(text: str) -> tuple[Address, int]:
    """SRC:DPORT: an exporter's address, one of IPv6 in brackets, and the port that it sends to."""
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if is_bracketed else host)
    except ValueError:
        address = None
    is_port = port.isascii() and port.isdigit() and int(port) <= LAST_PORT
    if not colon or address is None or not is_port or is_bracketed != (address.version == 6) or "%" in host:
        raise ValueError(f"{text!r} is not SRC:DPORT; right would be 10.2.2.3:514 or [2001:db8::3]:514")
    return Address(4 if address.version == 4 else 6, int(address)), int(port)


def neighbour(text: str) -> tuple[Address, bytes]:
    """IP=MAC."""
    ip, equals, mac = text.partition("=")
    try:
        address = ip_interface(ip).ip if "/" not in ip else None
    except ValueError:
        address = None
    if not equals or address is None or not _MAC.fullmatch(mac):
        raise ValueError(f"{text!r} is not IP=MAC; right would be 192.0.2.1=02:00:00:00:00:01")
    octets = bytes.fromhex(mac.replace(":", ""))
    if octets[0] & 1:
        raise ValueError(f"{mac} is a group address; a neighbour has a MAC of its own")
    return Address(4 if address.version == 4 else 6, int(address)), octets
