"""Loss proof for people: what sequence numbers say of a capture, or of a gfwd that runs, and what that lost itself."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gfwd.metrics.table import table_text
from gfwd.metrics.words import many
from gfwd.netflow.message import protocol_text

_HEADS = (
    *("exporter", "port", "domain", "sends", "datagrams", "in order", "counts", "received", "lost", "share"),
    *("re-ordered", "doubled", "restarts", "strays", "unproven"),
)
_TEXTS = (1, 2, 9)


def table(streams: Iterable[Mapping[str, Any]]) -> str:
    """A line for each stream; empty where there is none. streams: see daemon.loss.LossProof.answer()."""
    rows = [_row(one) for one in streams]
    return table_text(_HEADS, rows, texts=_TEXTS) if rows else ""


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    domain = "" if one["source_id"] is None else str(one["source_id"])
    all_of_it = one["lost"] + one["counted"]
    return (
        one["exporter"],
        one["source_port"],
        domain if one["agent"] is None else f"{one['agent']}/{domain}",
        protocol_text(one["protocol"], one["version"]),
        one["datagrams"],
        one["in_order"],
        one["counts"],
        one["counted"],
        one["lost"],
        f"{one['lost'] / all_of_it:.2%}" if all_of_it else "",
        one["reordered"],
        one["doubled"],
        one["restarts"],
        one["strays"],
        one["unproven"],
    )


# ---- of a gfwd that runs ----


def running(answer: Mapping[str, Any]) -> Iterator[str]:
    """Before gfwd, and inside. answer: see daemon.loss.LossProof.answer()."""
    yield "before gfwd\n"
    yield table(answer["streams"]) or _why_nothing(answer)
    yield from (f"\n{line}" for line in _more(answer))
    yield "\ninside gfwd, of all that came\n"
    yield _inside(answer["inside"])


def _why_nothing(answer: Mapping[str, Any]) -> str:
    if answer["is_on"]:
        return (
            "no datagram with a sequence number has come to a port that loss names: of those, only what gfwd listens "
            "on is followed"
        )
    return 'no sequence numbers are followed: say on which ports, loss = "2055,4739,6343" in gfwd.toml, or --loss'


def _more(answer: Mapping[str, Any]) -> Iterator[str]:
    """What the table does not show."""
    gone, left_out = answer["gone"], answer["not_followed"]
    if gone["datagrams"]:
        n = many(gone["datagrams"], "datagram")
        yield f"and {n} of streams that have ended and made room, with {gone['lost']:,} lost"
    if left_out["numberless"]:
        yield f"and {many(left_out['numberless'], 'datagram')} without a sequence number"
    if left_out["streams_without_room"]:
        yield (
            f"and {many(left_out['streams_without_room'], 'datagram')} of streams that found no room: more of it is "
            "streams in [limits]"
        )
    if left_out["ipfix_without_room"]:
        n = many(left_out["ipfix_without_room"], "datagram")
        yield f"and {n} of IPFIX that came faster than can be followed: what is missing there is unknown"


def _inside(found: Mapping[str, Any]) -> str:
    frames = found["frames"]
    rows = [
        *((f"frames for gfwd at {port}", its["ours"], its["lost"], "") for port, its in found["ports"].items()),
        ("frames that it read", frames["received"], sum(frames["drops"].values()), _causes(frames["drops"])),
        *(
            (f"copies for {collector}", its["wanted"], sum(its["drops"].values()), _causes(its["drops"]))
            for collector, its in found["collectors"].items()
        ),
    ]
    return table_text(("of", "in all", "lost", "by cause"), rows)


def _causes(drops: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {cause}" for cause, n in sorted(drops.items(), key=lambda one: -one[1]))
