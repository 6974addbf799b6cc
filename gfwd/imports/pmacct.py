"""pmacct's tee plugin (https://github.com/pmacct/pmacct): the configuration of nfacctd or sfacctd, and the receivers.

The configuration has lines `key: value` and `key[plugin]: value`, `!` and `#` start comments. The receivers file,
which `tee_receivers` names, has a pool of receivers in each line: `id=1 ip=192.0.2.1:2100,[2001:db8::1]:2100 tag=100`.
A datagram goes to all pools of all plugins whose tag filter lets it through. As in CONFIG-KEYS, cfg.c, tee_recvs.c.
"""

import os
import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from gfwd.errors import ConfigError, Problem
from gfwd.imports.entries import Share, Source
from gfwd.imports.imported import Imported, imported
from gfwd.imports.pre_tag_map import Row, TagRange, lets_through, parse_filter, parse_map, tag_of
from gfwd.imports.receivers import SOURCE_KEPT, port_number, read_collector, say_what_cannot_be_reached, service_text
from gfwd.imports.report import Place, Report, split_lines
from gfwd.rules.fields import quote
from gfwd.rules.model import Collector, Ports

Read = Callable[[str], str]

NFACCTD_PORT: Final = 2100
SFACCTD_PORT: Final = 6343

_WARNED: Final = {
    "allow_file": "gfwd has no list of exporters that may send: write rules for their addresses, and no default",
    "tee_source_ip": f"gfwd sends from no address of its own. {SOURCE_KEPT}",
    "tee_ipprec": "gfwd leaves the precedence of each datagram as it is",
    "mcast_groups": "gfwd joins no multicast group: let the exporters send to an address of gfwd's",
    "tee_kafka_config_file": "gfwd forwards to UDP collectors only",
    "maps_index": "with an index, a map works otherwise than row by row: look at the rules that came of it",
}
_ITSELF: Final = re.compile(
    r"daemonize|pidfile|syslog|logfile|debug.*|promisc|core_proc_name|proc_.*|maps_.*|tee_(max_.*|pipe_size|receivers|"
    r"transparent)|plugin_.*|.*_(pipe_size|proc_name|nonroot)|pre_tag_map|plugins|.*_port"
)
"""Keys that are read elsewhere, or are about buffers and the process itself."""


class Setting(NamedTuple):
    """A line of the configuration; without a plugin, it is for all of them."""

    key: str
    plugin: str | None
    value: str
    place: Place


class Pool(NamedTuple):
    """A line of a receivers file, and the tags that it is for. `rows` are the map of its plugin."""

    collectors: tuple[Collector, ...]
    tags: tuple[TagRange, ...]
    rows: tuple[Row, ...]
    place: Place


def import_file(text: str, path: str, ports: Ports | None, read: Read) -> Imported:
    """Turn a configuration; `read` reads the files that it names. Raises ConfigError."""
    report = Report()
    settings = list(_settings(text, path, report))
    report.stop_at_errors()
    plugins = _tee_plugins(settings, report)
    if not plugins:
        raise ConfigError([Problem(path, 0, 0, "no tee plugin in it: only what that one does is forwarding")])
    _remark(settings, report)
    listened = _listened(settings, path, report) if ports is None else ports
    pools = [pool for plugin in plugins for pool in _plugin_pools(plugin, settings, path, read, report)]
    report.stop_at_errors()
    if not pools and not any(remark.kind == "warning" for remark in report.remarks):
        raise ConfigError([Problem(path, 0, 0, "its receivers files name no receivers")])
    return imported(path, [(listened, _shares(pools, report) if pools else {})], report)


# The configuration


def _settings(text: str, path: str, report: Report) -> Iterator[Setting]:
    for line, content in enumerate(map(str.strip, split_lines(text)), 1):
        if not content or content[0] in "!#":
            continue
        key, colon, value = content.partition(":")
        match = re.fullmatch(r"([^\s\[\]]+)\s*(?:\[([^\[\]]*)\])?", key.strip())
        if not colon or match is None:
            report.error(
                Place(path, line), f"{quote(content)} is not a setting: write key: value, or key[plugin]: value"
            )
            continue
        yield Setting(match[1].lower(), match[2] and match[2].strip(), value.strip(), Place(path, line))


def _tee_plugins(settings: list[Setting], report: Report) -> list[str]:
    """The names of the tee plugins; those of other kinds store what they get."""
    setting = next((setting for setting in settings if setting.key == "plugins"), None)
    if setting is None:
        return []
    names = []
    for item in setting.value.split(","):
        kind, bracket, name = item.strip().partition("[")
        kind = kind.strip().lower()
        if kind == "tee":
            names.append(name.rstrip("] ").strip() if bracket else "default_tee")
        elif kind:
            report.warning(
                setting.place,
                f"{quote(kind)}: gfwd stores nothing: keep that plugin as a collector, in a pmacct of its own",
            )
    return list(dict.fromkeys(names))


def _setting_of(plugin: str, key: str, settings: list[Setting]) -> Setting | None:
    """What holds for a plugin: the last line that is for it, or for all."""
    found = [setting for setting in settings if setting.key == key and setting.plugin in (None, plugin)]
    return found[-1] if found else None


def _remark(settings: list[Setting], report: Report) -> None:
    """Say what has no meaning in gfwd."""
    for key, _, value, place in settings:
        general = re.sub(r"^[ns]facctd_", "", key)
        warning = _WARNED.get(key) or _WARNED.get(general)
        if warning:
            if value != "false":
                report.warning(place, f"{key}: {warning}")
        elif general == "ip":
            report.note(place, f"{key}: start gfwd run with --address {value}")
        elif not _ITSELF.fullmatch(key):
            report.note(place, f"{key} has no counterpart in gfwd")


def _listened(settings: list[Setting], path: str, report: Report) -> Ports:
    found = [setting for setting in settings if setting.key in ("nfacctd_port", "sfacctd_port")]
    if found:
        port = port_number(found[-1].value)
        if port is None:
            report.error(found[-1].place, f"{found[-1].key}: {service_text(found[-1].value)}")
            port = NFACCTD_PORT
    else:
        is_sfacctd = any(setting.key.startswith("sfacctd_") for setting in settings)
        name, port = ("sfacctd", SFACCTD_PORT) if is_sfacctd else ("nfacctd", NFACCTD_PORT)
        report.note(Place(path, 1), f"taken to come in on port {port}, the default of {name}: name another with --port")
    return ((port, port),)


# Receivers


def _plugin_pools(plugin: str, settings: list[Setting], path: str, read: Read, report: Report) -> Iterator[Pool]:
    receivers = _setting_of(plugin, "tee_receivers", settings)
    if receivers is None:
        report.error(Place(path, 1), f"the plugin {quote(plugin)} has no tee_receivers")
        return
    transparent = _setting_of(plugin, "tee_transparent", settings)
    if transparent is None or transparent.value.lower() != "true":
        report.warning(
            (transparent or receivers).place,
            f"without tee_transparent, pmacct sends from its own address. {SOURCE_KEPT}",
        )
    map_setting = _setting_of(plugin, "pre_tag_map", settings)
    rows: tuple[Row, ...] | None = ()
    if map_setting is not None:
        map_path = _beside(path, map_setting.value)
        rows = parse_map(read(map_path), map_path, report)
        if any(setting.key.startswith("sfacctd_") for setting in settings):
            report.warning(map_setting.place, "sfacctd compares ip with the agent inside sFlow; gfwd with the sender")
    pools_path = _beside(path, receivers.value)
    for line, content in enumerate(split_lines(read(pools_path)), 1):
        fields = content.split()
        if fields and fields[0][0] not in "!#":
            pool = _pool(fields, rows, Place(pools_path, line), report)
            if pool is not None:
                yield pool


def _beside(path: str, name: str) -> str:
    """A file that another one names, relative to that one's folder."""
    return os.path.join(os.path.dirname(path), name)


def _pool(fields: list[str], rows: tuple[Row, ...] | None, place: Place, report: Report) -> Pool | None:
    """Read a line of a receivers file. None where nothing comes of it, which the report has been told."""
    values = dict(field.partition("=")[::2] for field in fields)
    for key in values:
        if key in ("kafka_broker", "kafka_topic", "zmq_address"):
            report.warning(place, f"left out: {key}: gfwd forwards to UDP collectors only")
            return None
        if key not in ("id", "ip", "tag", "balance-alg", "src_port"):
            report.error(place, f"{quote(key)} is not a key of a receivers file: write id=1 ip=192.0.2.1:2100")
            return None
    if not re.fullmatch(r"0*[1-9][0-9]*", values.get("id", "")) or "ip" not in values:
        report.error(place, "a pool needs id, a number from 1, and ip: write id=1 ip=192.0.2.1:2100")
        return None
    tags = parse_filter(values["tag"]) if "tag" in values else ()
    if tags is None:
        report.error(place, f"{quote(values['tag'])} is not a list of tags: write tag=100,110-120 or tag=-150")
        return None
    if tags and rows is None:
        report.warning(
            place, "left out: its tags come from more than the exporter's address: write rules for its exporters"
        )
        return None
    collectors = _collectors(values["ip"], place, report)
    if "src_port" in values:
        report.warning(place, "src_port: gfwd keeps the exporter's port as the source port")
    if "balance-alg" in values and len(collectors) > 1:
        report.warning(
            place,
            f"balance-alg sends each datagram to one of {len(collectors)} receivers; gfwd sends it to all of them: "
            "share out the exporters among them by rules instead",
        )
    return Pool(collectors, tags, rows or (), place) if collectors else None


def _collectors(text: str, place: Place, report: Report) -> tuple[Collector, ...]:
    found = []
    for receiver in filter(None, text.split(",")):
        host, _, port_text = receiver.rpartition(":")
        port = port_number(port_text)
        if port is None or not host:
            report.error(place, f"{quote(receiver)} is not a receiver: write HOST:PORT, an IPv6 address in brackets")
            continue
        collector = read_collector(host.removeprefix("[").removesuffix("]"), port, place, report)
        if collector is not None:
            found.append(collector)
    return tuple(found)


# Shares


def _shares(pools: list[Pool], report: Report) -> dict[Source, Share]:
    """For each source that a map names, and for any, the collectors of all pools that let its tag through."""
    sources: dict[Source, None] = {None: None}
    sources |= {row.source: None for pool in pools if pool.tags for row in pool.rows}
    shares: dict[Source, Share] = {}
    for source in sources:
        collectors: dict[Collector, None] = {}
        places: dict[Place, None] = {}
        for pool in pools:
            tag, row_place = tag_of(pool.rows, source)
            if pool.tags and not lets_through(pool.tags, tag):
                continue
            say_what_cannot_be_reached(source, pool.collectors, pool.place, report)
            for collector in pool.collectors:
                if collector in collectors:
                    report.warning(pool.place, f"{collector} would get a datagram more than once; gfwd sends one copy")
                collectors[collector] = None
            places |= dict.fromkeys(place for place in (pool.place, row_place if pool.tags else None) if place)
        shares[source] = Share(tuple(collectors), tuple(places) or (pools[0].place,))
    return shares
