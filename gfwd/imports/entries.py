"""What every configuration is read into: sources, and the collectors that their datagrams go to."""

from typing import NamedTuple

from gfwd.imports.report import Place
from gfwd.rules.model import Collector, Prefix

Source = Prefix | None  # None: any source, of both families


class Entry(NamedTuple):
    """Datagrams from `source` go to `collectors`. Which other entries count for them, each program says."""

    source: Source
    collectors: tuple[Collector, ...]
    place: Place


class Share(NamedTuple):
    """The collectors of those datagrams for whose source there is no narrower share, and where that was said.

    With no collectors, the datagrams go nowhere.
    """

    collectors: tuple[Collector, ...]
    places: tuple[Place, ...]
