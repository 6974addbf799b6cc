"""A host where all is well, and what gfwd is to do there: tests break one thing after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gfwd.config import values
from gfwd.daemon.doctor import Finding, checks
from gfwd.daemon.doctor.facts import Asked, Facts, Interface, Netmap, Rings, Xdp
from gfwd.daemon.names.once import Answer
from gfwd.daemon.ports import Wanted
from gfwd.daemon.ways import Goal, NextHop
from gfwd.l2.kernel import InterfaceAddress, Link
from gfwd.rules import classic
from gfwd.rules.model import Address, Collector, RuleSet

SETTINGS = {"admode": 0, "buf_size": 2048, "buf_num": 163_840, "ring_num": 200, "ring_size": 36_864}


def ip(text: str) -> Address:
    prefix = values.own_prefix(text)
    return Address(prefix.family, prefix.value)


def interface(number: int, name: str, address: str = "", **its: Any) -> Interface:
    """A card that is in order; mtu, mac, is_up, has_carrier are its link's."""
    link = {"mac": bytes((2, 0, 0, 0, 0, number)), "mtu": 1500, "is_up": True, "has_carrier": True}
    link.update({key: its.pop(key) for key in link.keys() & its.keys()})
    addresses = (InterfaceAddress(ip(address), 24),) if address else ()
    return Interface(link=Link(number, name, **link), **{"addresses": addresses, "driver": "ixgbe", **its})  # type: ignore[arg-type]


def rules(folder: Path, text: str) -> RuleSet:
    path = folder / "gfwd.rules"
    path.write_text(text)
    return classic.load(path)


def addresses_of(ruleset: RuleSet) -> dict[Collector, Answer]:
    """Of collectors that are named by their addresses."""
    return {its: (its.address,) for its in ruleset.collectors() if its.address is not None}


class Doctor:
    """A host with the cards in0 and out0, 10.0.0.1 and 10.1.0.1, and what gfwd is to do there. All is well."""

    def __init__(self, kind: str, ruleset: RuleSet) -> None:
        self.asked = Asked(
            rules=ruleset,
            ports=(
                Wanted(values.port(f"{kind}:in0"), is_in=True, is_out=False),
                Wanted(values.port(f"{kind}:out0"), is_in=False, is_out=True),
            ),
        )
        rings = {"rings": Rings(4, 4, 512, 512), "has_native_netmap": True} if kind == "netmap" else {}
        self.facts = Facts(
            system="Linux",
            interfaces={
                "in0": interface(1, "in0", "10.0.0.1", has_native_xdp=True, **rings),
                "out0": interface(2, "out0", "10.1.0.1", has_native_xdp=True, **rings),
            },
            xdp=Xdp(kernel=(6, 1)),
            netmap=Netmap(settings=SETTINGS),
            names=addresses_of(ruleset),
            ways={Goal(ip("10.1.0.2")): NextHop(1, ip("10.1.0.2"))},
        )

    def ask(self, **asked: Any) -> None:
        self.asked = replace(self.asked, **asked)

    def know(self, **facts: Any) -> None:
        self.facts = replace(self.facts, **facts)

    def change(self, name: str, **its: Any) -> None:
        """its: of the interface, or of its link."""
        before = self.facts.interfaces[name]
        of_link = {key: its.pop(key) for key in ("mac", "mtu", "is_up", "has_carrier") if key in its}
        after = replace(before, link=replace(before.link, **of_link), **its)
        self.know(interfaces={**self.facts.interfaces, name: after})

    def findings(self) -> list[Finding]:
        return [finding for check in checks.CHECKS for finding in check(self.asked, self.facts)]

    def lines(self) -> list[str]:
        return list(map(str, self.findings()))


def one(lines: Iterable[str]) -> str:
    (line,) = lines
    return line
