"""Collectors and groups as a configuration names them.

By the name of a [collector.NAME] or a [group.NAME]; a collector also by address, or by a name of the DNS.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from gfwd.rules.fields import FieldError, parse_collector, quote
from gfwd.rules.model import Collector, Group, Prefix, Receiver


def parse_own_name(text: str) -> str:
    """Read the NAME of a [collector.NAME]: what a rules file, too, can take for a name, and for nothing else."""
    return _parse_name(text, "collector", "flow")


def parse_group_name(text: str) -> str:
    """Read the NAME of a [group.NAME], which rules name in the same places."""
    return _parse_name(text, "group", "farm")


def _parse_name(text: str, what: str, example: str) -> str:
    try:
        collector = parse_collector(text)
    except FieldError:
        collector = None
    if collector is None or collector.host != text or collector.address is not None or "." in text:
        raise FieldError(
            f"{quote(text)} is no name for a {what}: write two or more of a to z, 0 to 9, - and _, with a letter "
            f"among them, such as {example}"
        )
    return text


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a configuration before all of it is read, since the reading of collectors depends on it.

    own: gfwd's own addresses, which no collector can have. collectors, groups: those that have a name; None in them:
    there is one, and what is wrong with it is said there; None instead of them: nobody knows which there are.
    """

    own: Collection[Prefix] = ()
    collectors: Mapping[str, Collector | None] | None = None
    groups: Mapping[str, Group | None] | None = None

    def host(self, text: str) -> str:
        """Read the host of a [collector.NAME], and return its canonical text."""
        collector = parse_collector(text)
        if collector.port is not None:
            raise FieldError(f"{quote(text)}: the port has a key of its own: write port = {collector.port}")
        self._refuse_own(collector)
        return collector.host

    def backup(self, text: str) -> Collector:
        """Read a collector that steps in for another one."""
        return self._collector(text, "a backup").alone()

    def member(self, text: str) -> Collector:
        """Read a collector of a group."""
        return self._collector(text, "a member of a group")

    def receiver(self, text: str) -> Receiver:
        """Read a collector of a rule, or the name of a group."""
        collector = parse_collector(text)
        if self.groups is None or collector.host not in self.groups:
            return self._named(text, collector, "[collector.{0}] or [group.{0}]", self.groups or ())
        group = self.groups[collector.host]
        if collector.port is not None:
            raise FieldError(
                f"{quote(text)}: the members of the group have ports of their own: write {collector.host}",
                len(collector.host),
            )
        return group or collector

    def _collector(self, text: str, what: str) -> Collector:
        collector = parse_collector(text)
        if self.groups is not None and collector.host in self.groups:
            raise FieldError(f"{quote(text)} is a group, and {what} is one collector: write collectors instead")
        return self._named(text, collector, "[collector.{0}]", ())

    def _named(self, text: str, collector: Collector, table: str, others: Collection[str]) -> Collector:
        """The collector that is meant: a name without a dot is that of a [collector.NAME]."""
        if collector.address is not None or "." in collector.host:
            self._refuse_own(collector)
            return collector
        name = collector.host
        if self.collectors is None:
            return collector
        if name not in self.collectors:
            raise FieldError(_undefined(text, table.format(name), get_close_matches(name, [*self.collectors, *others])))
        if collector.port is not None:
            raise FieldError(f"{quote(text)}: the port of {name} stands in [collector.{name}]: write {name}", len(name))
        return self.collectors[name] or collector

    def _refuse_own(self, collector: Collector) -> None:
        """What is sent to an own address comes back. A whole network of ours may hold collectors all the same."""
        address = collector.address
        if address is not None and any(
            prefix.size == 1 and (prefix.family, prefix.value) == address for prefix in self.own
        ):
            raise FieldError(
                f"{quote(str(collector))} is gfwd's own address, and what is sent there would come back: "
                "write another one"
            )


NOTHING_KNOWN = Known()


def _undefined(text: str, table: str, close: list[str]) -> str:
    if close:
        return f"{quote(text)}: there is no {table}: did you mean {close[0]}?"
    return f"{quote(text)}: there is no {table}: write one, or an address, or a name of the DNS, with a dot"
