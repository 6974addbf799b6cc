"""Collectors as a configuration names them: by the name of a [collector.NAME], by address, or by a name of the DNS."""

from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches

from gfwd.rules.fields import FieldError, parse_collector, quote
from gfwd.rules.model import Collector, Prefix


def parse_own_name(text: str) -> str:
    """Read the NAME of a [collector.NAME]: what a rules file, too, can take for a name, and for nothing else."""
    try:
        collector = parse_collector(text)
    except FieldError:
        collector = None
    if collector is None or collector.host != text or collector.address is not None or "." in text:
        raise FieldError(
            f"{quote(text)} is no name for a collector: write two or more of a to z, 0 to 9, - and _, with a letter "
            "among them, such as flow"
        )
    return text


def host_reader(own: Collection[Prefix]) -> Callable[[str], str]:
    """What reads the host of a collector, and refuses gfwd's own addresses. It returns the host's canonical text."""

    def read(text: str) -> str:
        collector = parse_collector(text)
        if collector.port is not None:
            raise FieldError(f"{quote(text)}: the port has a key of its own: write port = {collector.port}")
        _refuse_own(collector, own)
        return collector.host

    return read


def collector_reader(
    named: Mapping[str, Collector | None] | None, own: Collection[Prefix]
) -> Callable[[str], Collector]:
    """What reads a collector of a rule.

    A name without a dot is that of a [collector.NAME]. named: those that there are; None in it: there is one, and what
    is wrong with it is said there; None instead of it: nobody knows which there are.
    """

    def read(text: str) -> Collector:
        collector = parse_collector(text)
        if collector.address is not None or "." in collector.host:
            _refuse_own(collector, own)
            return collector
        name = collector.host
        if named is None:
            return collector
        if name not in named:
            raise FieldError(_undefined(text, name, named))
        if collector.port is not None:
            raise FieldError(f"{quote(text)}: the port of {name} stands in [collector.{name}]: write {name}", len(name))
        return named[name] or collector

    return read


def _undefined(text: str, name: str, named: Collection[str]) -> str:
    close = get_close_matches(name, named, 1)
    if close:
        return f"{quote(text)}: there is no [collector.{name}]: did you mean {close[0]}?"
    return f"{quote(text)}: there is no [collector.{name}]: write one, or an address, or a name of the DNS, with a dot"


def _refuse_own(collector: Collector, own: Collection[Prefix]) -> None:
    """What is sent to an own address comes back. A whole network of ours may hold collectors all the same."""
    address = collector.address
    if address is not None and any(prefix.size == 1 and (prefix.family, prefix.value) == address for prefix in own):
        raise FieldError(
            f"{quote(str(collector))} is gfwd's own address, and what is sent there would come back: write another one"
        )
