"""The card in order: up, nothing done to frames behind gfwd's back, and frames to others taken where that is wanted.

Only what is otherwise is changed, and said. At the end it is put back, in the opposite order. What was changed stands
in a record meanwhile (card_record.py), so that after a crash the next gfwd puts it back. A card that cannot be put in
order is no reason not to forward: `say` hears what comes of it.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from gfwd.daemon import advice, card_record, interface, offloads
from gfwd.daemon.card_record import Before
from gfwd.daemon.offloads import Offload
from gfwd.daemon.ports import Say, Wanted


def needs_off(wanted: Wanted) -> tuple[Offload, ...]:
    """What a port of this kind cannot have.

    What netmap hands over is what is on the wire, and what the host sends through it must be whole. Beside AF_XDP the
    host goes on using the card as ever; but a native XDP program sees no tag that the card has taken off, and drivers
    refuse it where frames are joined.
    """
    if wanted.name.kind != "xdp":
        return offloads.OFFLOADS
    return (offloads.LRO, offloads.RX_VLAN) if wanted.is_in else (offloads.LRO,)


@contextmanager
def in_order(wanted: Iterable[Wanted], say: Say, *, promiscuous: bool) -> Iterator[None]:
    """The cards of these ports are in order within the block; what an earlier gfwd has left over is put back first.

    promiscuous: netmap's ports that datagrams come in by take frames to any MAC address.
    """
    put_back_left_over(say)
    with ExitStack() as stack:
        for one in wanted:
            if one.name.interface is not None:
                everyone = promiscuous and one.is_in and one.name.kind == "netmap"
                stack.enter_context(card(str(one.name), one.name.interface, needs_off(one), say, promiscuous=everyone))
        yield


@contextmanager
def card(port: str, name: str, off: Sequence[Offload], say: Say, *, promiscuous: bool = False) -> Iterator[None]:
    """One interface, up and without these offloads within the block. port: what the operator calls it."""
    with ExitStack() as stack:
        try:
            _order(stack, port, name, off, say)
        except OSError as error:
            if name in dict(socket.if_nameindex()).values():  # who opens the port says what is not there
                say(f"{port}: warning: nobody knows whether the card is in order ({error.strerror})")
        if promiscuous:
            try:
                stack.enter_context(interface.promiscuous(name))
            except OSError as error:
                say(
                    f"{port}: warning: it cannot be made promiscuous ({error.strerror}), so frames to other MAC "
                    f"addresses than its own may not come; try: {advice.make_promiscuous(name)}"
                )
        yield


def put_back_left_over(say: Say) -> None:
    """What gfwds that did not end properly have changed on interfaces of this network namespace."""
    for path, record in card_record.left_over(say):
        try:
            before = record.read()
        except ValueError as error:
            say(f"{path}: warning: {error}, so whatever a gfwd that did not end properly has changed stays so; removed")
        else:
            if not _is_there(before):
                say(f"{before.port}: a gfwd that did not end properly has changed it, and the interface is gone since")
            elif _put_back(before, say):
                say(f"{before.port}: {_changes(before)}: left over from a gfwd that did not end properly, put back")
        record.remove()


def _order(stack: ExitStack, port: str, name: str, off: Sequence[Offload], say: Say) -> None:
    """Change what has to be changed; the stack puts it back. Raises OSError where the interface is gone."""
    there = offloads.features(name)
    unwanted = [feature for offload in off for feature in offload.features if feature in there]
    to_change: dict[str, bool] = {}
    if any(there[feature].is_on for feature in unwanted):
        # Also what is asked for and not at work: it would be as soon as what excludes it is not.
        asked = [feature for feature in unwanted if there[feature].is_asked and there[feature].can_change]
        to_change = {feature: there[feature].is_on for feature in asked}
    before = Before(
        port=port,
        interface=name,
        index=socket.if_nametoindex(name),
        was_up=interface.is_up(name),
        features=to_change,
        pid=os.getpid(),
    )
    why = ""
    if before.features or not before.was_up:
        if not _keep(stack, before, say):
            return
        stack.callback(_put_back, before, say)
        try:
            offloads.set_features(name, dict.fromkeys(before.features, False))
            interface.set_up(name, on=True)
        except OSError as error:
            why = f" ({error.strerror})"
    now = offloads.features(name)
    switched_off = [feature for feature in unwanted if there[feature].is_on and not now[feature].is_on]
    if switched_off:
        called = offloads.words(switched_off)
        say(f"{port}: switched off: {called}; {'they come' if ',' in called else 'it comes'} back when gfwd ends")
    if not before.was_up and interface.is_up(name):
        say(f"{port}: brought up; it goes down again when gfwd ends")
    for offload in off:
        stuck = [feature for feature in offload.features if feature in now and now[feature].is_on]
        if stuck:
            say(
                f"{port}: warning: {offload.word} cannot be switched off{why}, so {offload.means}; try: "
                f"{_command(name, stuck, 'off')}"
            )


def _keep(stack: ExitStack, before: Before, say: Say) -> bool:
    """Write down what is about to be changed. False: another gfwd has done so."""
    try:
        stack.callback(card_record.keep(before).remove)
    except card_record.Taken:
        say(f"{before.port}: warning: another gfwd has changed this interface, so it is left as it is")
        return False
    except OSError as error:
        say(
            f"{before.port}: warning: what is changed on it cannot be written down in {card_record.FOLDER} "
            f"({error.strerror}), so nobody puts it back if gfwd crashes"
        )
    return True


def _put_back(before: Before, say: Say) -> bool:
    """False: not all of it; `say` has heard what is missing. An interface that is gone is as it was."""
    with suppress(OSError):
        if not _is_there(before):
            return True
        why = ""
        try:
            if not before.was_up:
                interface.set_up(before.interface, on=False)
            offloads.set_features(before.interface, dict.fromkeys(before.features, True))
        except OSError as error:
            why = f" ({error.strerror})"
        now = offloads.features(before.interface)
        missing = [name for name, was_on in before.features.items() if was_on and name in now and not now[name].is_on]
        if missing:
            say(
                f"{before.port}: warning: {offloads.words(missing)} cannot be switched on again{why}; try: "
                f"{_command(before.interface, missing, 'on')}"
            )
            return False
    return True


def _is_there(before: Before) -> bool:
    """Another one that has got its name since is not the same."""
    with suppress(OSError):
        return socket.if_nametoindex(before.interface) == before.index
    return False


def _changes(before: Before) -> str:
    were_on = [name for name, was_on in before.features.items() if was_on]
    parts = [f"switched off: {offloads.words(were_on)}"] * bool(were_on) + ["brought up"] * (not before.was_up)
    return "; ".join(parts)


def _command(interface_name: str, features: Iterable[str], value: str) -> str:
    return " ".join(["ethtool -K", interface_name, *(f"{feature} {value}" for feature in features)])
