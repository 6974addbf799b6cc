"""The text of one field of a rule → its meaning. What a rule is written in, a line or a table, does not matter here.

Every reader raises FieldError, and nothing else, whatever the text is.
"""

import re
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final, NoReturn

from gfwd.rules.model import (
    ADDRESS_BITS,
    ALL_PORTS,
    LAST_PORT,
    Address,
    Collector,
    PortRange,
    Ports,
    Prefix,
    address_text,
    merge_ports,
)

PRIORITIES: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

_LONGEST_NAME: Final = 253  # characters of a DNS name, and
_LONGEST_LABEL: Final = 63  # of what stands between its dots (RFC 1123 §2.1)
_LONGEST_QUOTE: Final = 80

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,4}")  # int() would also take 0514, +514, 5_14 and other scripts' digits
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")  # RFC 1123 §2.1, and the underscore that many use
_DOTTED_NUMBERS: Final = re.compile(r"[0-9]+(\.[0-9]+){3}")
_IPV4_MAPPED: Final = 0xFFFF  # the first 96 bits of ::ffff:0:0/96 (RFC 4291 §2.5.5.2)


class FieldError(Exception):
    """A field cannot mean anything. `offset` says at which of its characters, from 0, the reason stands."""

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.text = text
        self.offset = offset


def quote(text: str) -> str:
    """The text as a message shows it: in quotes, of bearable length, and without power over a terminal."""
    shown = text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"
    return '"' + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown) + '"'


# Source


def parse_source(text: str) -> Prefix | None:
    """Read an address, a prefix, or `*`: any source, which is None."""
    if text == "*":
        return None
    prefix = _parse_prefix(text)
    if prefix is None:
        _refuse_source(text)
    return prefix


def parse_prefix(text: str) -> Prefix:
    """Read an address or a prefix, where none of the other sources can stand."""
    prefix = _parse_prefix(text)
    if prefix is None:
        advice = _address_advice(text.partition("/")[0])
        advice = advice or "write an address, or a prefix such as 10.0.0.0/8 or 2001:db8::/32"
        raise FieldError(f"{quote(text)} is not a prefix: {advice}")
    return prefix


def _parse_prefix(text: str) -> Prefix | None:
    """Read an address or a prefix; None where the text does not begin with an address."""
    address_part, slash, length_part = text.partition("/")
    address = _parse_address(address_part)
    if address is None:
        return None
    family, value = address
    bits = ADDRESS_BITS[family]
    length = bits
    if slash:
        if not _NUMBER.fullmatch(length_part) or int(length_part) > bits:
            _refuse_length(text, address, length_part)
        length = int(length_part)
    prefix = Prefix(family, value >> (bits - length) << (bits - length), length)
    if prefix.value != value:
        raise FieldError(f"{quote(text)} has bits set behind its length: write {prefix} or {address}")
    if family == 6 and length >= 96 and value >> 32 == _IPV4_MAPPED:
        inner = Prefix(4, value & 0xFFFFFFFF, length - 96)
        raise FieldError(f"{quote(text)} is an IPv4-mapped address, which no datagram carries: write {inner}")
    return prefix


def _parse_address(text: str) -> Address | None:
    """Read an address; None where the text is none. Parts with leading zeros, octal to some, make it none."""
    try:
        if ":" in text:
            return Address(6, int.from_bytes(inet_pton(AF_INET6, text), "big"))
        return Address(4, int.from_bytes(inet_pton(AF_INET, text), "big"))
    except (OSError, ValueError):  # ValueError: NUL, or half of a surrogate pair
        return None


def _refuse_source(text: str) -> NoReturn:
    advice = _address_advice(text.partition("/")[0])
    if advice:
        raise FieldError(f"{quote(text)}: {advice}")
    if "," in text:
        raise FieldError(f"{quote(text)}: only one source stands in a line; write a line for each")
    if text.lower() == "default":
        raise FieldError(f"{quote(text)}: write default, in small letters")
    raise FieldError(
        f"{quote(text)} is not a source: write an address, a prefix such as 10.0.0.0/8 or 2001:db8::/32, * or default"
    )


def _refuse_length(text: str, address: Address, length_part: str) -> NoReturn:
    mask = _parse_address(length_part)
    if mask is not None and mask.family == address.family:
        # As bits, a netmask is ones, then zeros; so its complement plus one is a power of two.
        size = (1 << ADDRESS_BITS[address.family]) - mask.value
        if size & (size - 1) == 0:
            length = ADDRESS_BITS[address.family] + 1 - size.bit_length()
            raise FieldError(f"{quote(text)}: write the netmask as a length: {address}/{length}")
    raise FieldError(f"{quote(text)}: the length of a prefix is a number from 0 to {ADDRESS_BITS[address.family]}")


def _address_advice(text: str) -> str | None:
    """What would be right instead of a text that nearly is an address; None where it is far from one."""
    host, zone, _ = text.partition("%")
    if zone and ":" in host and _parse_address(host):
        return f"an address stands here without its zone: write {_parse_address(host)}"
    if _DOTTED_NUMBERS.fullmatch(text) and not _parse_address(text):
        decimal = _parse_address(".".join(part.lstrip("0") or "0" for part in text.split(".")))
        if decimal:
            return f"leading zeros may mean octal: write {decimal}"
        return "each of the four numbers of an IPv4 address is 0 to 255"
    return None


# Destination port


def parse_ports(text: str) -> Ports:
    """Read `514`, `9995-9999`, a list of these such as `514,9995-9999`, or `*`."""
    if text == "*":
        return ALL_PORTS
    if "," not in text:
        return (_parse_port_range(text, 0),)
    ranges = []
    offset = 0
    for item in text.split(","):
        ranges.append(_parse_port_range(item, offset))
        offset += len(item) + 1
    return merge_ports(ranges)


def _parse_port_range(text: str, offset: int) -> PortRange:
    first_part, dash, last_part = text.partition("-")
    first = _parse_port(first_part)
    last = _parse_port(last_part) if dash else first
    if first is None or last is None:
        _refuse_port_range(text, offset)
    if first > last:
        raise FieldError(f"{quote(text)} runs backwards: write {last}-{first}", offset)
    return first, last


def _parse_port(text: str) -> int | None:
    """Read one port, 1 to 65535; None where the text is none."""
    port = int(text) if _NUMBER.fullmatch(text) else 0
    return port if 1 <= port <= LAST_PORT else None


def _refuse_port_range(text: str, offset: int) -> NoReturn:
    if not text:
        raise FieldError("a port is missing beside this comma: write a list as 514,9995-9999, without blanks", offset)
    if text == "*":
        raise FieldError('"*" is all ports and stands alone, not in a list', offset)
    raise FieldError(
        f"{quote(text)} is not a port: write a number from 1 to {LAST_PORT}, a range such as 9995-9999, "
        "a list such as 514,9995-9999, or *",
        offset,
    )


# Collector


def parse_collector(text: str) -> Collector:
    """Read an address, `address:port`, `[v6]:port`, a DNS name or `name:port`."""
    host, port_text = _split_collector(text)
    port = None
    if port_text is not None:
        port = _parse_port(port_text)
        if port is None:
            raise FieldError(
                f"{quote(port_text)} is not a collector's port: write a number from 1 to {LAST_PORT}",
                len(text) - len(port_text),
            )
    address = _parse_address(host)
    if address is None:
        return Collector(_parse_name(host), port, None)
    reason = unreachable(address)
    if reason:
        raise FieldError(f"{quote(text)}: {reason}")
    return Collector(str(address), port, address)


def unreachable(address: Address) -> str | None:
    """Why no collector can have this address, whether it was written or came from the DNS; None: it can."""
    family, value = address
    if family == 4:
        if value >> 24 == 0:
            return "addresses in 0.0.0.0/8 mean this very host (RFC 1122 §3.2.1.3): write the collector's own address"
        if value >> 24 == 127:
            return "a loopback address never leaves its host: write the collector's address on the network"
        if value >> 28 == 0xE:
            return "a multicast address is not one collector: write the collector's own address"
        if value == 0xFFFFFFFF:
            return "the broadcast address is not one collector: write the collector's own address"
        return None
    if value == 0:
        return "the unspecified address is nobody's: write the collector's own address"
    if value == 1:
        return "a loopback address never leaves its host: write the collector's address on the network"
    if value >> 120 == 0xFF:
        return "a multicast address is not one collector: write the collector's own address"
    if value >> 32 == _IPV4_MAPPED:
        return f"an IPv4-mapped address is carried by no datagram: write {address_text(4, value & 0xFFFFFFFF)}"
    return None


def _split_collector(text: str) -> tuple[str, str | None]:
    """Part host and port. Two colons or more without brackets are an IPv6 address, and no port follows it."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or _parse_address(host) is None or ":" not in host or rest[:1] not in ("", ":"):
            advice = _address_advice(host) or "in brackets stands an IPv6 address: write [2001:db8::9]:2055"
            raise FieldError(f"{quote(text)}: {advice}")
        return host, rest[1:] if rest else None
    if text.count(":") < 2:
        host, colon, port = text.partition(":")
        return host, port if colon else None
    if _parse_address(text) is None:
        host, _, port = text.rpartition(":")
        if _parse_address(host) and _parse_port(port):
            raise FieldError(f"{quote(text)}: a port behind an IPv6 address needs brackets: write [{host}]:{port}")
        advice = _address_advice(text) or "not an IPv6 address; with a port, write [2001:db8::9]:2055"
        raise FieldError(f"{quote(text)}: {advice}")
    return text, None


def _parse_name(text: str) -> str:
    """Read a DNS name (RFC 1123 §2.1), or the name that a collector has in gfwd.toml, which looks the same."""
    advice = _address_advice(text)
    if advice:
        raise FieldError(f"{quote(text)}: {advice}")
    if "/" in text:
        raise FieldError(f"{quote(text)}: a collector is one host: write its address or name, without /")
    if not text.isascii():
        raise FieldError(f"{quote(text)}: write a name with other letters than a to z as the DNS has it, xn--…")
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise FieldError(
            f"{quote(text)} is not a collector: write an address or a DNS name, each with or without a port, "
            "such as 10.2.2.6, [2001:db8::9]:2055 or flow.example.net:9995"
        )
    if len(name) > _LONGEST_NAME or max(map(len, labels)) > _LONGEST_LABEL:
        raise FieldError(
            f"{quote(text)} is too long for a DNS name: {_LONGEST_NAME} characters are allowed, "
            f"and {_LONGEST_LABEL} between two dots"
        )
    if labels[-1].isdigit():
        # Such a name would be taken for an address by half of the tools that meet it (RFC 3696 §2).
        raise FieldError(f"{quote(text)} is neither an address nor a name: a name does not end in a number")
    if len(name) == 1:
        raise FieldError(f"{quote(text)}: a single letter is a priority, and stands last in its line, behind a blank")
    return name


# Priority


def parse_priority(text: str) -> str:
    """Read one letter, A (best) to Z."""
    if text in PRIORITIES:
        return text
    if text.upper() in PRIORITIES:
        raise FieldError(f"{quote(text)}: a priority is a capital letter: write {text.upper()}")
    raise FieldError(f"{quote(text)} is not a priority: write one letter, A (best) to Z")
