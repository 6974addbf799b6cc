"""The card in order: up, nothing done to frames behind gfwd's back, and frames to others taken where that is wanted.

Only what is otherwise is changed, and said. At the end it is put back, in the opposite order. What was changed stands
in a record meanwhile (record.py), so that after a crash the next gfwd puts it back. A card that cannot be put in
order is no reason not to forward: `say` hears what comes of it.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from gfwd.daemon import advice
from gfwd.daemon.card import record
from gfwd.daemon.card.record import Before
from gfwd.daemon.card.system import Offload, this_system, words
from gfwd.daemon.log import events
from gfwd.daemon.log.event import Say
from gfwd.daemon.ports import Wanted

_HERE: Final = this_system()


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
                stack.enter_context(
                    card(str(one.name), one.name.interface, _HERE.unwanted(one), say, promiscuous=everyone)
                )
        yield


@contextmanager
def card(port: str, name: str, off: Sequence[Offload], say: Say, *, promiscuous: bool = False) -> Iterator[None]:
    """One interface, up and without these offloads within the block. port: what the operator calls it."""
    with ExitStack() as stack:
        try:
            _order(stack, port, name, off, say)
        except OSError as error:
            if name in dict(socket.if_nameindex()).values():  # who opens the port says what is not there
                why = f"nobody knows whether the card is in order ({error.strerror})"
                say(events.CARD_NOT_IN_ORDER(f"{port}: warning: {why}", port=port))
        if promiscuous:
            try:
                stack.enter_context(_HERE.promiscuous(name))
            except OSError as error:
                say(
                    events.CARD_NOT_IN_ORDER(
                        f"{port}: warning: it cannot be made promiscuous ({error.strerror}), so frames to other MAC "
                        f"addresses than its own may not come; try: {advice.make_promiscuous(name)}",
                        port=port,
                    )
                )
        yield


def put_back_left_over(say: Say) -> None:
    """What gfwds that did not end properly have changed on interfaces of this network stack."""
    for path, left in record.left_over(say):
        try:
            before = left.read()
        except ValueError as error:
            stays = "so whatever a gfwd that did not end properly has changed stays so; removed"
            say(events.CARD_RECORD_BROKEN(f"{path}: warning: {error}, {stays}", file=str(path)))
        else:
            if _name_now(before) is None:
                is_gone = "a gfwd that did not end properly has changed it, and the interface is gone since"
                say(events.CARD_GONE(f"{before.port}: {is_gone}", port=before.port))
            elif _put_back(before, say):
                what = f"{_changes(before)}: left over from a gfwd that did not end properly, put back"
                say(events.CARD_PUT_BACK(f"{before.port}: {what}", port=before.port))
        left.remove()


def _order(stack: ExitStack, port: str, name: str, off: Sequence[Offload], say: Say) -> None:
    """Change what has to be changed; the stack puts it back. Raises OSError where the interface is gone."""
    there = _HERE.features(name)
    unwanted = [feature for offload in off for feature in offload.features if feature in there]
    to_change: dict[str, bool] = {}
    if any(there[feature].is_on for feature in unwanted):
        # Also what is asked for and not at work: it would be as soon as what excludes it is not.
        asked = [feature for feature in unwanted if there[feature].is_asked and there[feature].can_change]
        to_change = {feature: there[feature].is_on for feature in asked}
    before = Before(
        port=port,
        interface=name,
        identity=_HERE.identity(name),
        index=socket.if_nametoindex(name),
        was_up=_HERE.is_up(name),
        features=to_change,
        pid=os.getpid(),
    )
    why = ""
    if before.features or not before.was_up:
        if not _keep(stack, before, say):
            return
        stack.callback(_put_back, before, say)
        try:
            try:
                _HERE.set_features(name, dict.fromkeys(before.features, False))
            finally:
                _HERE.set_up(name, on=True)  # also where a driver has refused some of them
        except OSError as error:
            why = f" ({error.strerror})"
    now = _HERE.features(name)
    switched_off = [feature for feature in unwanted if there[feature].is_on and not now[feature].is_on]
    if switched_off:
        called = words(switched_off, _HERE.OFFLOADS)
        back = f"{'they come' if ',' in called else 'it comes'} back when gfwd ends"
        say(events.CARD_CHANGED(f"{port}: switched off: {called}; {back}", port=port))
    if not before.was_up and _HERE.is_up(name):
        say(events.CARD_CHANGED(f"{port}: brought up; it goes down again when gfwd ends", port=port))
    for offload in off:
        stuck = [feature for feature in offload.features if feature in now and now[feature].is_on]
        if stuck:
            say(
                events.CARD_NOT_IN_ORDER(
                    f"{port}: warning: {offload.word} cannot be switched off{why}, so {offload.means}; try: "
                    f"{_HERE.command(name, stuck, on=False)}",
                    port=port,
                )
            )


def _keep(stack: ExitStack, before: Before, say: Say) -> bool:
    """Write down what is about to be changed. False: another gfwd has done so."""
    try:
        stack.callback(record.keep(before).remove)
    except record.Taken:
        why = "another gfwd has changed this interface, so it is left as it is"
        say(events.CARD_TAKEN(f"{before.port}: warning: {why}", port=before.port))
        return False
    except OSError as error:
        say(
            events.CARD_NOT_RECORDED(
                f"{before.port}: warning: what is changed on it cannot be written down in {_HERE.FOLDER} "
                f"({error.strerror}), so nobody puts it back if gfwd crashes",
                port=before.port,
            )
        )
    return True


def _put_back(before: Before, say: Say) -> bool:
    """False: not all of it; `say` has heard what is missing."""
    interface = _name_now(before)
    if interface is None:
        is_gone = "the interface is gone, so what gfwd has changed on it is not put back"
        say(events.CARD_GONE(f"{before.port}: {is_gone}", port=before.port))
        return False
    with suppress(OSError):  # it has gone just now
        why = ""
        try:
            if not before.was_up:
                _HERE.set_up(interface, on=False)
            _HERE.set_features(interface, dict.fromkeys(before.features, True))
        except OSError as error:
            why = f" ({error.strerror})"
        now = _HERE.features(interface)
        missing = [name for name, was_on in before.features.items() if was_on and name in now and not now[name].is_on]
        if missing:
            say(
                events.CARD_NOT_PUT_BACK(
                    f"{before.port}: warning: {words(missing, _HERE.OFFLOADS)} cannot be switched on again{why}; try: "
                    f"{_HERE.command(interface, missing, on=True)}",
                    port=before.port,
                )
            )
            return False
    return True


def _name_now(before: Before) -> str | None:
    """Its own, or what somebody has renamed it to; None: it is gone. Who has got its name since is another one."""
    # By its number first: at boot, many come to be in one second. Back from a jail, it may have another number.
    for name in (dict(socket.if_nameindex()).get(before.index), before.interface):
        with suppress(OSError):
            if name is not None and _HERE.identity(name) == before.identity:
                return name
    return None


def _changes(before: Before) -> str:
    were_on = [name for name, was_on in before.features.items() if was_on]
    parts = [f"switched off: {words(were_on, _HERE.OFFLOADS)}"] * bool(were_on) + ["brought up"] * (not before.was_up)
    return "; ".join(parts)
