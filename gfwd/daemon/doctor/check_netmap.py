"""What hurts ports of netmap: the device, its settings, the drivers, other programs.

Whether a driver knows netmap or is emulated, netmap does not tell. FreeBSD does, by a capability of the interface; on
Linux it can only be forbidden to emulate. Nor does netmap tell who has a card's rings, short of taking them.
"""

import os
from collections.abc import Iterator
from errno import EACCES, ENODEV, ENOENT, ENXIO, EPERM

from gfwd.daemon import advice
from gfwd.daemon.doctor.facts import Asked, Facts, Rings
from gfwd.daemon.doctor.finding import Finding, error, note, warning
from gfwd.daemon.netmap_ports import too_few_to_send
from gfwd.daemon.ports import ETHERNET_BYTES, Wanted
from gfwd.native.core import PORTS_MAX

_DEVICE = "/dev/netmap"
_BPF = "/dev/bpf"
_RING_HEADER_BYTES = 256  # struct netmap_ring
_SLOT_BYTES = 16  # struct netmap_slot
_PAGE_BYTES = 4_096
_SPARES = 64  # buffers beside each pair of rings (port.h: FW_SPARES)
_HOST_RINGS = 2  # that netmap adds to each card, whether the host is asked for or not
_NATIVE_ONLY, _EMULATED_ONLY = 1, 2  # dev.netmap.admode


def device_opens(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """Where no port is asked for: on FreeBSD there are no others, on Linux there are."""
    why = facts.netmap.errno
    if not why or (asked.ports and not asked.of_kind("netmap", "vale")):
        return
    found = error if asked.ports or facts.xdp is None else note
    if why in (ENOENT, ENXIO, ENODEV):
        yield found(_DEVICE, "is not there: the netmap module is not loaded", advice.load_netmap())
    elif why in (EACCES, EPERM):
        yield found(_DEVICE, "no permission: run gfwd as root, or give its user the device")
    else:
        yield found(_DEVICE, f"cannot be opened: {os.strerror(why)}")


def speaks_our_version(asked: Asked, facts: Facts) -> Iterator[Finding]:
    its = facts.netmap
    if asked.of_kind("netmap", "vale") and not its.errno and not its.speaks_api:
        yield error(_DEVICE, "this netmap is of another version than 14, which gfwd speaks: it takes a newer kernel")


def neighbours_can_be_asked_for(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """Behind a port with the host, by FreeBSD's gfwd in the kernel's name."""
    if not facts.bpf_errno or not any(one.name.has_host for one in asked.outputs()):
        return
    if facts.bpf_errno in (EACCES, EPERM):
        yield error(_BPF, "no permission, and IPv4 neighbours are asked for by it: run gfwd as root")
    else:
        yield error(
            _BPF,
            f"cannot be opened ({os.strerror(facts.bpf_errno)}), so IPv4 neighbours cannot be asked for; a jail is "
            "given it by a rule of devfs(8)",
        )


def card_is_free(asked: Asked, facts: Facts) -> Iterator[Finding]:
    for one, interface in facts.there(asked.of_kind("netmap")):
        if interface.in_netmap_mode:
            yield error(
                one.name,
                "a program has it in netmap mode, a gfwd that runs, for one: end that, or name other rings "
                f"(who it is, fstat {_DEVICE} shows)",
            )
    users = ", ".join(map(str, facts.netmap.users))
    if users and asked.of_kind("netmap"):
        yield warning(_DEVICE, f"{users} has it open: if with the rings of a port asked for, gfwd will be refused")


def netmap_takes_the_card(asked: Asked, facts: Facts) -> Iterator[Finding]:
    for one, interface in facts.there(asked.of_kind("netmap")):
        if interface.netmap_error:
            yield error(one.name, f"netmap does not take it: {interface.netmap_error}")


def driver_is_native(asked: Asked, facts: Facts) -> Iterator[Finding]:
    mode = facts.netmap.settings.get("admode")
    cards = list(facts.there(asked.of_kind("netmap")))
    if mode is None or not cards:
        return
    if mode == _EMULATED_ONLY:
        yield warning(
            "dev.netmap.admode", f"{mode}: netmap emulates all cards, which is slower", advice.set_netmap(admode=0)
        )
        return
    for one, interface in cards:
        if interface.is_stacked():
            continue  # which is said already, and worse
        if interface.has_native_netmap is False and mode == _NATIVE_ONLY:
            yield error(
                one.name,
                f"its driver does not know netmap, and dev.netmap.admode is {mode}, so netmap does not emulate it",
                advice.set_netmap(admode=0),
            )
        elif interface.has_native_netmap is False:
            yield warning(one.name, "its driver does not know netmap, which emulates it: slower")
        elif interface.has_native_netmap is None and mode != _NATIVE_ONLY:
            driver = f"driver ({interface.driver})" if interface.driver else "driver"
            yield note(
                one.name,
                f"netmap does not tell whether its {driver} knows netmap, or will be emulated, which is slower; with "
                f"{advice.set_netmap(admode=_NATIVE_ONLY)} gfwd starts on the former only",
            )


def buffers_hold_the_frames(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """netmap takes memory for all of its buffers as soon as one card is open: larger ones are to be fewer."""
    size = facts.netmap.settings.get("buf_size")
    longest = max((interface.link.mtu for _, interface in facts.there(asked.of_kind("netmap"))), default=0)
    needed = longest + ETHERNET_BYTES
    if size is not None and longest and needed > size:
        wanted = 1 << (needed - 1).bit_length()
        number = max(facts.netmap.settings.get("buf_num", 0) * size // wanted, _buffers(asked, facts))
        yield warning(
            "dev.netmap.buf_size",
            f"{size:,} bytes, and a frame at an MTU of {longest} takes {needed:,}: netmap refuses the card, or longer "
            f"frames are dropped (too_big); {number:,} buffers of {wanted:,} bytes take {number * wanted >> 20:,} MiB "
            "of the kernel's memory",
            advice.set_netmap(buf_size=wanted, buf_num=number),
        )


def memory_suffices(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """For all rings of the cards asked for; what other programs take, comes on top."""
    cards, buffers = _cards(asked, facts), _buffers(asked, facts)
    rings = sum(its.rx + its.tx + _HOST_RINGS for its in cards)
    longest = max((max(its.rx_slots, its.tx_slots) for its in cards), default=0)
    bytes_ = _RING_HEADER_BYTES + longest * _SLOT_BYTES if cards else 0
    for setting, needed, what, wanted in (
        ("ring_num", rings, "rings", rings),
        ("ring_size", bytes_, f"bytes for a ring of {longest:,} slots", -(-bytes_ // _PAGE_BYTES) * _PAGE_BYTES),
        ("buf_num", buffers, "buffers", buffers),
    ):
        has = facts.netmap.settings.get(setting)
        if has is not None and has < needed:
            yield error(
                f"dev.netmap.{setting}",
                f"it is {has:,}, and the cards asked for take {needed:,} {what}",
                advice.set_netmap(**{setting: wanted}),
            )


def rings_are_there(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """Those that the port names, and room for all of them in it."""
    for one, interface in facts.there(asked.of_kind("netmap")):
        if interface.rings is None:
            continue
        there = max(interface.rings.rx, interface.rings.tx)
        wanted = one.name.rings or range(there)
        if wanted.stop > there:
            yield error(one.name, f"there is no ring {wanted.stop - 1}: the card has {there}, from 0 up")
        elif len(wanted) > PORTS_MAX:
            yield error(
                one.name,
                f"{len(wanted)} rings, and a port has up to {PORTS_MAX}: give the card fewer queues "
                f"({advice.fewer_queues(interface.link.name)})",
            )


def has_rings_for_the_workers(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """Each worker reads a ring of its own at least, and sends by one of its own on every port."""
    if asked.workers > 1 and any(one.name.has_host for one in asked.ports):
        yield error("--workers", "the host stack has one ring, so one worker has to do; or leave out the *")
    known = [(one, rings) for one in asked.of_kind("netmap", "vale") if (rings := _rings(one, facts)) is not None]
    for one, (_, tx) in known:
        if why := too_few_to_send(tx, asked.workers):
            yield error(one.name, why)
    read = sum(rx for _, (rx, _) in known)
    if known and len(known) == len(asked.ports) and read < asked.workers:
        yield error("--workers", f"{asked.workers} workers, and {read} RX queues in all; each needs one of its own")


def _cards(asked: Asked, facts: Facts) -> list[Rings]:
    """What is known of the cards asked for, of each once."""
    there = {its.link.name: its.rings for _, its in facts.there(asked.of_kind("netmap"))}
    return [rings for rings in there.values() if rings is not None]


def _buffers(asked: Asked, facts: Facts) -> int:
    """How many those cards take."""
    return sum(
        its.rx * its.rx_slots + its.tx * its.tx_slots + max(its.rx, its.tx) * _SPARES for its in _cards(asked, facts)
    )


def _rings(one: Wanted, facts: Facts) -> tuple[int, int] | None:
    """How many the port has to read, and to send by; None: nobody knows, or some are not there. What is no card has one
    of each.
    """
    if one.name.interface is None:
        return 1, 1
    interface = facts.of(one)
    if interface is None or interface.rings is None:
        return None
    rx, tx, *_ = interface.rings
    wanted = one.name.rings or range(max(rx, tx))
    return (_up_to(rx, wanted), _up_to(tx, wanted)) if wanted.stop <= max(rx, tx) else None


def _up_to(there: int, wanted: range) -> int:
    """How many of those wanted are among the first so many."""
    return len(range(there)[wanted.start : wanted.stop])
