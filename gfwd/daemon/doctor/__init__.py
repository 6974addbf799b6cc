"""The doctor: what on this host would hurt gfwd. Facts are gathered in one place, and judged by pure functions.

facts.py        what is asked, and what is known of the host: plain data
gather.py       the facts, gathered
linux.py        … from Linux
freebsd.py      … from FreeBSD
xdp_features.py … from Linux: what drivers can do with XDP
netmap_device.py … from /dev/netmap
finding.py      what a check yields
checks.py       all checks: whoever has a new one writes a function in a check_*.py, and puts it in that table
"""

from gfwd.daemon.doctor.checks import CHECKS
from gfwd.daemon.doctor.facts import Asked
from gfwd.daemon.doctor.finding import Finding, Severity
from gfwd.daemon.doctor.gather import gather

__all__ = ["Asked", "Finding", "Severity", "examine"]


def examine(asked: Asked) -> list[Finding]:
    """All findings, in the order of the table of checks. Raises GfwdError on a system that gfwd does not know."""
    facts = gather(asked)
    return [finding for check in CHECKS for finding in check(asked, facts)]
