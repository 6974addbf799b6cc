"""A check and what came of it, for people."""

from gfwd.health.watch import Watch
from gfwd.rules.model import Check


def check_text(check: Check) -> str:
    """As gfwd.toml has it: icmp, tcp:9995, http://…"""
    if check.url is not None:
        return check.url
    return check.kind if check.port is None else f"{check.kind}:{check.port}"


def result_text(watch: Watch) -> str:
    """What is known by the last try."""
    if watch.trouble is not None:
        return f"cannot be checked: {watch.trouble}"
    return "not tried yet" if watch.last is None else watch.last.what


def why_down(watch: Watch) -> str:
    """Why it is down, with what was tried."""
    last = watch.last
    assert last is not None, "it is down, so a try has failed"
    n = watch.in_a_row
    if n == 1:
        why = last.what
    elif watch.alike >= n:
        why = f"{last.what}, {n} times in a row"
    else:
        why = f"{n} tries in a row have failed, at last: {last.what}"
    return f"{why} ({last.target})" if last.target else why


def time_text(seconds: float) -> str:
    """How long something has been so, as exactly as anybody wants to know."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
