"""What hurts ports of AF_XDP: the kernel, what this user may, the driver, the queues."""

from collections.abc import Iterator

from gfwd.daemon import advice, xdp_ports
from gfwd.daemon.doctor.facts import Asked, Facts, Interface, Xdp
from gfwd.daemon.doctor.finding import Finding, error, note, warning
from gfwd.rules.model import ADDRESS_BITS, RuleSet

_OLDEST_KERNEL = (5, 10)
_SLOTS = 4_096  # of each ring of a queue (xsk.h)


def _wanted(asked: Asked, facts: Facts) -> Xdp | None:
    """None: no port of AF_XDP is asked for, nor could be; of a system without it, is_linuxs_own() speaks."""
    return facts.xdp if asked.of_kind("xdp") or not asked.ports else None


def is_linuxs_own(asked: Asked, facts: Facts) -> Iterator[Finding]:
    if facts.xdp is None:
        for one in asked.of_kind("xdp"):
            yield error(one.name, f"there is no AF_XDP on {facts.system}; the port would be netmap:{one.name.name}")


def kernel_is_new_enough(asked: Asked, facts: Facts) -> Iterator[Finding]:
    its = _wanted(asked, facts)
    if its is not None and its.kernel < _OLDEST_KERNEL:
        has, needs = (".".join(map(str, version)) for version in (its.kernel, _OLDEST_KERNEL))
        yield error("AF_XDP", f"this is Linux {has}, and gfwd needs {needs} or later")


def kernel_has_it(asked: Asked, facts: Facts) -> Iterator[Finding]:
    its = _wanted(asked, facts)
    if its is not None and not its.has_sockets:
        yield error("AF_XDP", "this kernel was built without it (CONFIG_XDP_SOCKETS)")


def has_permission(asked: Asked, facts: Facts) -> Iterator[Finding]:
    its = _wanted(asked, facts)
    if its is not None and its.missing:
        yield error("AF_XDP", f"no permission: run gfwd as root, or give it {', '.join(its.missing)}")


def may_lock_memory(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """What gfwd and the card share must stay in memory. Kernels before 5.11 count the XDP program's maps, too."""
    its, candidates = _wanted(asked, facts), list(facts.there(asked.of_kind("xdp")))
    if its is None or its.lockable is None or not candidates:
        return
    buffer = xdp_ports.buffer_bytes(interface.link.mtu for _, interface in candidates)
    slots = sum(
        max(interface.queues.to_read() * one.is_in, asked.workers * one.is_out) + asked.workers * one.is_out
        for one, interface in candidates
    )
    if its.lockable < slots * _SLOTS * buffer:
        yield error(
            "AF_XDP",
            f"gfwd needs {slots * _SLOTS * buffer // 1024:,} KiB of locked memory and a little more, and may have "
            f"{its.lockable // 1024:,} (systemd: LimitMEMLOCK=infinity)",
            "ulimit -l unlimited",
        )


def has_no_other_program(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """One that is held by a process goes with it, and in no other way."""
    for one, interface in facts.there(asked.of_kind("xdp")):
        what, holder = "an XDP program is attached to it", interface.xdp_holder
        if interface.xdp_mode and holder is not None:
            yield error(one.name, f"{what}, held by {holder}: end that", f"kill {holder.pid}")
        elif interface.xdp_mode:
            yield error(
                one.name,
                f"{what}: take it off, or end what has attached it",
                f"ip link set dev {interface.link.name} {interface.xdp_mode} off",
            )


def driver_has_it(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """Before Linux 6.3 the driver cannot be asked, and gfwd says at start how it was."""
    for one, interface in facts.there(asked.of_kind("xdp")):
        if interface.has_native_xdp is False and not interface.is_stacked():
            yield warning(one.name, f"generic mode, which is slower: {_driver(interface)} has no native XDP")


def mtu_fits(asked: Asked, facts: Facts) -> Iterator[Finding]:
    candidates = list(facts.there(asked.of_kind("xdp")))
    if not candidates:
        return
    buffer = xdp_ports.buffer_bytes(interface.link.mtu for _, interface in candidates)
    for one, interface in candidates:
        mtu = interface.link.mtu
        parts = []
        if one.is_in and (lost := xdp_ports.what_is_lost(mtu, buffer)):
            parts.append(lost)
        if mtu > xdp_ports.MTU_IN_A_PAGE and interface.has_native_xdp is not False:
            parts.append(f"with an MTU of {mtu} the driver may refuse native XDP, and generic mode is slower")
        if parts:
            yield warning(one.name, "; ".join(parts), advice.set_mtu(interface.link.name, xdp_ports.MTU_IN_A_PAGE))


def has_queues_for_the_workers(asked: Asked, facts: Facts) -> Iterator[Finding]:
    candidates = list(facts.there(asked.of_kind("xdp")))
    for one, interface in candidates:
        if one.is_in and (why := xdp_ports.too_many_to_read(interface.queues.to_read(), asked.workers)):
            yield error(one.name, why, _set_queues(interface, asked.workers))
        if one.is_out and (why := xdp_ports.too_few_to_send(interface.queues.to_send(), asked.workers)):
            yield error(one.name, why, _set_queues(interface, asked.workers))
    read = sum(interface.queues.to_read() for one, interface in candidates if one.is_in)
    if candidates and len(candidates) == len(asked.ports) and 0 < read < asked.workers:
        yield error("--workers", f"{asked.workers} workers, and {read} RX queues in all; each needs one of its own")


def exporters_spread(asked: Asked, facts: Facts) -> Iterator[Finding]:
    """A card gives all that comes from one address and port to one of its queues, to keep it in order."""
    exporters = None if asked.rules is None else _exporters(asked.rules)
    if exporters is None:
        return
    those = "1 exporter" if exporters == 1 else f"{exporters} exporters"
    for one, interface in facts.there(asked.of_kind("xdp")):
        queues = interface.queues.to_read()
        if one.is_in and exporters < queues and asked.workers == 1:
            yield note(
                one.name,
                f"{queues} RX queues for {those}: some stay empty, and one worker looks at all of them",
                _set_queues(interface, 1),
            )
    if exporters < asked.workers and asked.of_kind("xdp"):
        yield warning(
            "--workers",
            f"{asked.workers} workers for {those}: a card puts each exporter into one queue, so some workers have "
            "nothing to do; one worker is the tuned case",
        )


def _exporters(rules: RuleSet) -> int | None:
    """How many there may be; None: a rule takes any."""
    sources = {rule.source for rule in rules.rules}
    if None in sources:
        return None
    return sum(1 << ADDRESS_BITS[source.family] - source.length for source in sources if source is not None)


def _set_queues(interface: Interface, number: int) -> str:
    """Some drivers count queues both ways as one, others each for itself."""
    kinds = f"combined {number}" if interface.queues.both else f"rx {number} tx {number}"
    return f"ethtool -L {interface.link.name} {kinds}"


def _driver(interface: Interface) -> str:
    return f"the driver {interface.driver}" if interface.driver else "its driver"
