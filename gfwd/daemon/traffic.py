"""Who sends to which port in a capture: the core reads and judges it, so what counts is what gfwd would take."""

from collections import Counter
from typing import NamedTuple

from gfwd.native.core import Core, Limits
from gfwd.plan.blueprint import Blueprint, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.plan.taps import WHOLE
from gfwd.rules.model import ALL_PORTS, LAST_PORT, Address, Collector, Rule, RuleSet
from gfwd.rules.space import RuleSpace

_SLOTS = 64  # of the ring that the capture is read into
_TAP_SLOTS = 2 * _SLOTS  # a step reads a full ring once at most, so the tap, emptied after each, loses nothing
_FRAME_BYTES = 65_536  # captures hold what offloads have put together, up to IP's own limit
_NOBODY = Collector("nobody.invalid", None, None)  # RFC 6761 §6.4; it has no address, so that nothing needs to leave
_VLAN_TYPES = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")


class Traffic(NamedTuple):
    """Datagrams by exporter and port; and what was wrong with the capture, if anything was."""

    datagrams: Counter[tuple[Address, int]]
    problem: str | None


def traffic(capture: str) -> Traffic:
    """Read a capture to its end, or to where it is broken. Raises CoreError where it cannot be read at all."""
    # A rule for each port: the number of the rule that a datagram meets says which port it was sent to, wherever in the
    # frame that stands.
    ruleset = RuleSet("", tuple(Rule(None, ((port, port),), (_NOBODY,), "A", port) for port in range(LAST_PORT + 1)))
    space = RuleSpace(ruleset)
    plan = Blueprint(space=space, routes={_NOBODY: Route(0, ())}, ports=(PlanPort(),), listen=ALL_PORTS, taps=(WHOLE,))
    limits = Limits(
        rules=len(space.ranked), collectors=1, neighbours=1, frame_bytes=_FRAME_BYTES, ring_slots=_TAP_SLOTS
    )
    found: Counter[tuple[Address, int]] = Counter()
    with Core(limits) as core:
        port = core.port_pcap_in(core.region(rings=1, slots=_SLOTS, buffer_bytes=_FRAME_BYTES), capture)
        worker = core.worker(rx=[(port, 0)], tx=[])
        core.publish(compile_plan(plan))
        while worker.step():
            for record in iter(worker.take_tapped, None):
                found[_source(record.frame), space.outcomes[record.rule][0].ports[0][0]] += 1
        broken = core.port_error(port)
    return Traffic(found, None if broken is None else f"{capture}: error: {broken}")


def _source(frame: bytes) -> Address:
    """The source address of a frame that the core has found sound: behind at most two tags stands an IP header."""
    at = 12
    while frame[at : at + 2] in _VLAN_TYPES:
        at += 4
    packet = frame[at + 2 :]
    if packet[0] >> 4 == 4:
        return Address(4, int.from_bytes(packet[12:16]))  # RFC 791 §3.1
    return Address(6, int.from_bytes(packet[8:24]))  # RFC 8200 §3
