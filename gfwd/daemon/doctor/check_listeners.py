"""What gfwd answers over the network, and to whom."""

from collections.abc import Iterator
from ipaddress import ip_address

from gfwd.daemon.doctor.facts import Asked, Facts
from gfwd.daemon.doctor.finding import Finding, note, warning

_TELLS = (
    "metrics name collectors and, with metrics_rules, rules; nobody is asked for a password, and nothing is encrypted"
)


def metrics_are_for_few(asked: Asked, _: Facts) -> Iterator[Finding]:
    """What a firewall lets through is not known here."""
    if asked.metrics is None:
        return
    what = f"metrics {asked.metrics}"
    if asked.metrics.is_on_all_addresses():
        yield warning(
            what,
            f"on all addresses of this host, so whoever reaches one of them can read them: {_TELLS}; name the one that "
            "Prometheus asks at: [listeners] metrics",
        )
    elif ip_address(str(asked.metrics.address)).is_global:
        yield note(
            what,
            f"an address that the whole Internet may reach: {_TELLS}; let a firewall pass Prometheus only, or name a "
            "private address: [listeners] metrics",
        )
