"""What the host itself must have, whatever the ports."""

from collections.abc import Iterator

from gfwd.daemon.doctor.facts import Asked, Facts
from gfwd.daemon.doctor.finding import Finding, error, warning


def tables_can_be_read(_: Asked, facts: Facts) -> Iterator[Finding]:
    if facts.tables_error:
        yield error("interfaces", facts.tables_error.rpartition("error: ")[2])


def workers_have_cpus(asked: Asked, facts: Facts) -> Iterator[Finding]:
    missing = sorted(set(asked.cpus) - facts.cpus)
    if missing:
        there = ", ".join(map(str, sorted(facts.cpus)))
        yield error("--cpu", f"there is no CPU {', '.join(map(str, missing))} for gfwd; there are {there}")
    if asked.workers > len(facts.cpus):
        yield warning(
            "--workers",
            f"{asked.workers} workers, and CPUs for {len(facts.cpus)}: they hinder each other; one worker is the tuned "
            "case",
        )
