"""What the doctor has found: one line each."""

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Severity(Enum):
    """error: gfwd will not forward, or not by this port. warning: it will, and something is lost or slow."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """what: a port, file, setting or collector. mend: a command that makes the finding go away, where there is one."""

    severity: Severity
    what: str
    message: str
    mend: str | None = None

    def __str__(self) -> str:
        mend = f"; mend it: {self.mend}" if self.mend else ""
        return f"{self.what}: {self.severity.value}: {self.message}{mend}"

    def as_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return {"severity": self.severity.value, "what": self.what, "message": self.message, "mend": self.mend}


def error(what: object, message: str, mend: str | None = None) -> Finding:
    return Finding(Severity.ERROR, str(what), message, mend)


def warning(what: object, message: str, mend: str | None = None) -> Finding:
    return Finding(Severity.WARNING, str(what), message, mend)


def note(what: object, message: str, mend: str | None = None) -> Finding:
    return Finding(Severity.NOTE, str(what), message, mend)
