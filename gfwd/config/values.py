"""The text of one value → its meaning, be it from the command line or from gfwd.toml.

Every reader raises ValueError, and nothing else, whatever the text is. What rules are made of is in rules/fields.py.
"""

import re
from ipaddress import ip_address, ip_interface
from typing import Final

from gfwd.config.endpoint import Endpoint
from gfwd.config.model import NameServer
from gfwd.config.port_name import PortName
from gfwd.rules.fields import FieldError, parse_collector, parse_ports, unreachable
from gfwd.rules.model import ALL_PORTS, LAST_PORT, Address, Ports, Prefix, ports_text

_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


class NotOfItsKind(ValueError):
    """A text is no address, or no MAC, at all."""


_SOCKET_PATH_MOST = 103  # of FreeBSD; Linux has a few more


def file_name(text: str) -> str:
    """The name of a file, which messages can show as it is."""
    if not text or not text.isprintable():
        raise ValueError(f"{text!r} is no name of a file; right would be gfwd.rules")
    return text


def socket_path(text: str) -> str:
    """Where a Unix socket is to be; unix(4) has room for so much and no more."""
    if not text.startswith("/") or not text.isprintable() or len(text.encode()) > _SOCKET_PATH_MOST:
        raise ValueError(
            f"{text!r} cannot be a socket; right would be a whole path, up to {_SOCKET_PATH_MOST} bytes long: "
            "/var/run/gfwd/control"
        )
    return text


def endpoint(text: str) -> Endpoint:
    """ADDRESS:PORT, of IPv6 [ADDRESS]:PORT; never a name, which may be another address tomorrow, or none."""
    right = "right would be 127.0.0.1:9055, or [::1]:9055"
    host, _, digits = text.rpartition(":")
    is_port = digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= LAST_PORT
    if not host and is_port:
        raise ValueError(
            f"{text!r} does not say at which address; for this host alone, right would be 127.0.0.1:{digits}"
        )
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        found = address(host[1:-1] if is_bracketed else host)
    except NotOfItsKind:
        raise ValueError(f"{text!r} is no address with a port; {right}") from None
    if not is_port or is_bracketed != (found.family == 6) or "%" in host:
        raise ValueError(f"{text!r} is no address with a port; {right}")
    if found.family == 6 and found.is_link_local:
        raise ValueError(f"{text!r}: such an address is one link's only, and nothing says which link; {right}")
    return Endpoint(found, int(digits))


def name_server(text: str) -> NameServer:
    """ADDRESS, ADDRESS:PORT, of IPv6 [ADDRESS]:PORT; never a name, which nobody could look up."""
    right = "right would be 192.0.2.53, or [2001:db8::53]:5353"
    try:
        return NameServer(address(text))
    except NotOfItsKind:
        pass
    try:
        found = endpoint(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address of a server, with a port or without; {right}") from None
    return NameServer(found.address, found.port)


def domain(text: str) -> str:
    """A name of the DNS, in lower case and without the final dot."""
    try:
        found = parse_collector(text)
    except FieldError:
        found = None
    if found is None or found.address is not None or found.port is not None:
        raise ValueError(f"{text!r} is no name of the DNS; right would be example.net")
    return found.host


def log_place(text: str) -> str:
    """stderr, syslog, or a file by its whole path."""
    if text in ("stderr", "syslog") or (text.startswith("/") and text.isprintable()):
        return text
    raise ValueError(
        f"{text!r} is no place for a log; right would be stderr, syslog or a whole path: /var/log/gfwd.log"
    )


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


def port_text(text: str) -> str:
    """A port, by its canonical name."""
    return str(port(text))


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


def listen_text(ports: Ports) -> str:
    """What listen() reads."""
    return "all" if ports == ALL_PORTS else ports_text(ports)


def neighbour(text: str) -> tuple[Address, bytes]:
    """IP=MAC."""
    ip, _, mac_part = text.partition("=")
    try:
        return host(ip), mac(mac_part)
    except NotOfItsKind:
        raise ValueError(f"{text!r} is not IP=MAC; right would be 192.0.2.1=02:00:00:00:00:01") from None


def address(text: str) -> Address:
    """Any address."""
    try:
        found = ip_address(text)
    except ValueError:
        raise NotOfItsKind(f"{text!r} is no address; right would be 192.0.2.1 or 2001:db8::1") from None
    return Address(4 if found.version == 4 else 6, int(found))


def host(text: str) -> Address:
    """A neighbour's address, which is that of one host. The port that it is behind is not said by it."""
    found = address(text)
    if "%" in text:
        right = text.partition("%")[0]
        raise ValueError(f"{text!r}: which port it is behind is said by `out` of collectors; write {right}")
    if unreachable(found):
        raise ValueError(f"{text!r} is the address of no single host; right would be 192.0.2.1 or 2001:db8::1")
    return found


def ipv4(text: str) -> Address:
    """A host's IPv4 address."""
    found = host(text)
    if found.family != 4:
        raise NotOfItsKind(f"{text!r} is no IPv4 address; right would be 192.0.2.1")
    return found


def mac(text: str) -> bytes:
    """A neighbour's MAC address: six octets."""
    if not _MAC.fullmatch(text):
        raise NotOfItsKind(f"{text!r} is no MAC; right would be 02:00:00:00:00:01")
    octets = bytes.fromhex(text.replace(":", ""))
    if octets[0] & 1:
        raise ValueError(f"{text} is a group address; a neighbour has a MAC of its own")
    if not any(octets):
        raise ValueError(f"{text} is nobody's MAC; a neighbour has one of its own")
    return octets


def mac_text(octets: bytes) -> str:
    """What mac() reads."""
    return octets.hex(":")
