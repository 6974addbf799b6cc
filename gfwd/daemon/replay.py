"""Replay: the real core from one capture file to another, without privileges and without a network."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gfwd.config.model import USUAL_DNS, DnsSetting
from gfwd.daemon.accounts import Accounts, Assignment
from gfwd.daemon.names import once
from gfwd.daemon.workers import Threads
from gfwd.dns.choice import resolve_of
from gfwd.errors import GfwdError, UsageError
from gfwd.metrics.ledger import Ledger
from gfwd.native.core import Core, Limits, NeighbourState
from gfwd.plan.blueprint import EVERY_ADDRESS, Blueprint, Hop, PlanPort, Route
from gfwd.plan.compile import compile_plan
from gfwd.plan.places import Places, places_of
from gfwd.rules.model import ADDRESS_BITS, ALL_PORTS, Address, Collector, Ports, Prefix, RuleSet
from gfwd.rules.space import RuleSpace

SOURCE_MAC = bytes.fromhex("020000000001")
_IN, _OUT = 0, 1
_RING_SLOTS = 256
_STOPPING_S = 1.0  # a capture may be a pipe that says nothing
_BUFFER_BYTES = 65_536  # captures hold what offloads have put together, up to IP's own limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What to replay. own, listen: destinations that are ours. neighbours: MACs (6 bytes) that are not made up. dns:
    how names become addresses.
    """

    capture: str
    output: str
    rules: RuleSet
    own: tuple[Prefix, ...] = EVERY_ADDRESS
    listen: Ports = ALL_PORTS
    neighbours: Mapping[Address, bytes] = field(default_factory=dict)
    dns: DnsSetting = USUAL_DNS


@dataclass(frozen=True, slots=True)
class Outcome:
    """The accounting; what was wrong with the capture or the output, if anything was; and warnings."""

    ledger: Ledger
    problem: str | None
    remarks: tuple[str, ...]


def replay(job: Replay) -> Outcome:
    """Forward the whole capture. What was whole in a broken one is forwarded, and the outcome says where it broke."""
    collectors = job.rules.collectors()
    addresses = once.addresses(collectors, job.dns)
    once.refuse_own(job.rules.path, job.own, addresses)
    places = {
        one: places_of(one, found)
        for one, found in addresses.items()
        if len(found) > 1 and resolve_of(one, job.dns.resolve) == "all"
    }
    hosts = dict.fromkeys(address for found in addresses.values() for address in found)
    slots = {address: slot for slot, address in enumerate(hosts)}
    space = RuleSpace(job.rules)
    _refuse_to_overwrite(job)
    with Core(Limits(rules=len(space.ranked), collectors=len(collectors), neighbours=len(slots))) as core:
        region = core.region(rings=2, slots=_RING_SLOTS, buffer_bytes=_BUFFER_BYTES)
        core.port_pcap_in(region, job.capture)
        core.port_pcap_out(region, job.output)
        worker = core.worker(rx=[(_IN, 0)], tx=[(_OUT, 0)])
        for address, slot in slots.items():
            core.set_neighbour(slot, job.neighbours.get(address) or made_up_mac(address), NeighbourState.READY)
        accounts = Accounts(core)
        assignment = accounts.prepare(job.rules, space)
        core.publish(compile_plan(_blueprint(job, space, assignment, addresses, slots, places)))
        accounts.take(assignment)
        with Threads([worker], stopping_s=_STOPPING_S) as threads:
            threads.wait()
        problem = _problem(core, job)
        ledger = accounts.ledger()
    return Outcome(ledger, problem, _remarks(job, slots))


def made_up_mac(address: Address) -> bytes:
    """A MAC where there is no wire to ask: 02:00, or 02:01 in IPv6 (locally administered), and the last four bytes."""
    last_four = address.value.to_bytes(ADDRESS_BITS[address.family] // 8)[-4:]
    return bytes((2, 0 if address.family == 4 else 1)) + last_four


def _blueprint(
    job: Replay,
    space: RuleSpace,
    assignment: Assignment,
    addresses: Mapping[Collector, tuple[Address, ...]],
    slots: Mapping[Address, int],
    places: Places,
) -> Blueprint:
    """Every collector is its own next hop, behind the one port there is."""
    goals = [(one, one, found) for one, found in addresses.items()]
    goals += [(place, one, found) for one in places for place, found in places[one].items()]
    return Blueprint(
        space=space,
        routes={
            goal: Route(assignment.slot_of(collector), tuple(Hop(address, _OUT, slots[address]) for address in found))
            for goal, collector, found in goals
        },
        counters=assignment.rule_slots(),
        ports=(PlanPort(), PlanPort(mac=SOURCE_MAC, keep_tags=True, own=_single(job.own))),
        own=job.own,
        listen=job.listen,
        exporters=job.rules.exporters,
        places=places,
    )


def _refuse_to_overwrite(job: Replay) -> None:
    """The output is emptied before the capture is read."""
    for path, what in ((job.capture, "the capture itself"), (job.rules.path, "the rules file")):
        if os.path.exists(path) and os.path.exists(job.output) and os.path.samefile(path, job.output):
            raise UsageError(f"{job.output}: error: is {what}; name another file to write to")


def _problem(core: Core, job: Replay) -> str | None:
    try:
        core.port_close(_OUT)
    except GfwdError as error:
        return f"{job.output}: error: {error}"
    broken = core.port_error(_IN)
    return None if broken is None else f"{job.capture}: error: {broken}"


def _single(own: Iterable[Prefix]) -> tuple[Address, ...]:
    return tuple(Address(prefix.family, prefix.value) for prefix in own if prefix.size == 1)


def _remarks(job: Replay, slots: Mapping[Address, int]) -> tuple[str, ...]:
    nameless = () if _single(job.own) else job.rules.collectors()
    without_source = tuple(
        f'collector {collector}: warning: source = "own", and no address of ours is named (--address 192.0.2.1), so '
        "its copies are dropped (no_collector)"
        for collector in nameless
        if collector.options is not None and collector.options.own_source
    )
    return without_source + tuple(
        f"--neighbour {address}: warning: no collector has this address, so its MAC is not used"
        for address in job.neighbours
        if address not in slots
    )
