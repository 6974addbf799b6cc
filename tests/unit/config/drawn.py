"""Configurations at random."""

import string
from collections.abc import Iterable
from typing import get_args

from hypothesis import strategies as st

from gfwd.config.endpoint import Endpoint
from gfwd.config.model import Config, DnsSetting, IcmpSetting, Listeners, LogSetting, NameServer, Sizes
from gfwd.config.port_name import PortName
from gfwd.rules.fields import unreachable
from gfwd.rules.listen import named_ports
from gfwd.rules.model import (
    ADDRESS_BITS,
    ALL_PORTS,
    FAMILIES,
    LAST_PORT,
    NO_OPTIONS,
    Address,
    Balance,
    Check,
    Collector,
    Exporters,
    Family,
    Group,
    Options,
    Ports,
    Prefix,
    Receiver,
    Resolve,
    Rule,
    RuleSet,
    each_once,
    merge_ports,
)

WORDS = st.text(string.ascii_lowercase, min_size=2, max_size=6)
PORT = st.integers(1, LAST_PORT)
MACS = st.binary(min_size=6, max_size=6).filter(lambda octets: any(octets) and not octets[0] & 1)
PORT_NAMES = st.one_of(
    WORDS.map(lambda name: PortName("xdp", name)),
    st.builds(lambda name, host: PortName("netmap", f"netmap:{name}", host), WORDS, st.booleans()),
    WORDS.map(lambda name: PortName("vale", f"vale0:{name}")),
    # Whatever an interface may be called, TOML has a way to write it.
    st.text(st.characters(codec="utf-8", exclude_characters="\0*^\r"), min_size=1, max_size=4).map(
        lambda name: PortName("netmap", f"netmap:{name}")
    ),
)


@st.composite
def addresses(draw: st.DrawFn, of_collector: bool = False) -> Address:
    family = draw(st.sampled_from(FAMILIES))
    if of_collector:
        first = 0x0A000000 if family == 4 else 0x20010DB8 << 96
        return Address(family, first + draw(st.integers(0, 0xFFFFFF)))
    return Address(family, draw(st.integers(0, (1 << ADDRESS_BITS[family]) - 1)))


def hosts_addresses(*families: Family) -> st.SearchStrategy[Address]:
    """Of single hosts."""
    wanted = families or FAMILIES
    return addresses().filter(lambda address: address.family in wanted and unreachable(address) is None)


@st.composite
def prefixes(draw: st.DrawFn) -> Prefix:
    family = draw(st.sampled_from(FAMILIES))
    length = draw(st.integers(1, 16 if family == 4 else 64))
    return Prefix(family, draw(st.integers(0, (1 << length) - 1)) << (ADDRESS_BITS[family] - length), length)


@st.composite
def port_sets(draw: st.DrawFn) -> Ports:
    pairs = draw(st.lists(st.tuples(PORT, PORT), max_size=3))
    return merge_ports((min(pair), max(pair)) for pair in pairs) or ALL_PORTS


@st.composite
def hosts(draw: st.DrawFn, dots: int) -> Collector:
    """A collector without a port: an address, or a name with so many dots at least."""
    if draw(st.booleans()):
        address = draw(addresses(of_collector=True))
        return Collector(str(address), None, address)
    return Collector(".".join(draw(st.lists(WORDS, min_size=dots + 1, max_size=3))), None, None)


PORTS_OR_NONE = st.none() | PORT
OTHERS = st.builds(lambda host, port: host._replace(port=port), hosts(dots=1), PORTS_OR_NONE)
"""Collectors without a name."""

CHECKS = st.builds(
    lambda check, numbers: check._replace(interval=numbers[0], rise=numbers[1], fall=numbers[2]),
    st.sampled_from([Check("arp"), Check("icmp"), Check("http", url="http://[2001:db8::1]:80/a?b=%20c")])
    | PORT.map(lambda port: Check("tcp", port=port)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
)
RATES = st.integers(1, 1_000_000_000)
VLANS = st.integers(1, 4_094)


def some_options(outputs: Iterable[PortName]) -> st.SearchStrategy[Options | None]:
    """Without backups. outputs: ports that copies can leave by."""
    return st.builds(
        Options,
        own_source=st.booleans(),
        source_port=PORTS_OR_NONE,
        ttl=st.none() | st.integers(1, 255),
        sample=st.just(1) | RATES,
        limit=st.none() | RATES,
        backup=st.just(()),
        check=st.none() | CHECKS,
        out=st.none() | st.sampled_from([str(name) for name in outputs]),
        vlan=st.none() | VLANS,
    ).map(lambda options: None if options == NO_OPTIONS else options)


EXPORTERS = st.builds(
    Exporters,
    allow=st.lists(prefixes(), max_size=2, unique=True).map(tuple),
    deny=st.lists(prefixes(), max_size=2, unique=True).map(tuple),
    limit=st.none() | RATES,
    limits=st.dictionaries(prefixes(), st.none() | RATES, max_size=2).map(lambda limits: tuple(limits.items())),
)


@st.composite
def named_collectors(draw: st.DrawFn, names: list[str], outputs: Iterable[PortName]) -> dict[str, Collector]:
    """Those that may name each other as their backups."""
    options = some_options(outputs)
    alone = {
        name: with_resolve(draw, draw(hosts(dots=0)), options)._replace(port=draw(PORTS_OR_NONE), name=name)
        for name in names
    }
    return {name: with_backups(its, draw(choices(alone.values(), most=2))) for name, its in alone.items()}


def with_resolve(draw: st.DrawFn, host: Collector, its: st.SearchStrategy[Options | None]) -> Collector:
    """With options, one of which only those have that are looked up."""
    options = draw(its)
    resolve = draw(st.none() | st.sampled_from(get_args(Resolve))) if host.address is None else None
    options = (options or NO_OPTIONS)._replace(resolve=resolve)
    return host._replace(options=None if options == NO_OPTIONS else options)


def with_backups(collector: Collector, backups: Iterable[Receiver]) -> Collector:
    others = tuple(one for one in backups if isinstance(one, Collector) and one.place() != collector.place())
    options = (collector.options or NO_OPTIONS)._replace(backup=others)
    return collector._replace(options=None if options == NO_OPTIONS else options)


def choices(named: Iterable[Receiver], most: int) -> st.SearchStrategy[tuple[Receiver, ...]]:
    """Some of those with a name, and others, each once."""
    those = list(named)
    return st.lists(OTHERS | st.sampled_from(those) if those else OTHERS, max_size=most).map(each_once)


@st.composite
def groups(draw: st.DrawFn, name: str, collectors: Iterable[Collector]) -> Group:
    members = draw(choices(collectors, most=3))
    while len(members) < 2:
        members = each_once([*members, draw(OTHERS)])
    balance = draw(st.sampled_from(get_args(Balance)))
    return Group(name, balance, tuple(one for one in members if isinstance(one, Collector)))


@st.composite
def exceptions(draw: st.DrawFn, source: Prefix | None) -> tuple[Prefix, ...]:
    """A few prefixes within the source, which leave something of it."""
    if source is None:
        return tuple(draw(st.lists(prefixes(), max_size=2, unique=True)))
    found = []
    for more in draw(st.lists(st.integers(2, 8), max_size=3)):  # three quarters at most
        length = source.length + more
        bits = draw(st.integers(0, (1 << more) - 1))
        found.append(Prefix(source.family, source.value | bits << (ADDRESS_BITS[source.family] - length), length))
    return tuple(dict.fromkeys(found))


@st.composite
def rules(draw: st.DrawFn, named: Iterable[Receiver], line: int) -> Rule:
    source = draw(st.none() | prefixes())
    priority = None if source is None and draw(st.booleans()) else draw(st.sampled_from("ABZ"))
    receivers = draw(choices(named, most=3)) or (draw(OTHERS),)
    applies_always = priority is not None and draw(st.booleans())
    rule = Rule(source, draw(port_sets()), receivers, priority, line, draw(exceptions(source)), applies_always)
    return rule if rule.can_send() else rule._replace(source=None)


@st.composite
def listeners(draw: st.DrawFn) -> Listeners:
    metrics = draw(st.none() | st.builds(Endpoint, addresses(of_collector=True), PORT))
    return Listeners(
        metrics=metrics, metrics_rules=None if metrics is None else draw(st.none() | st.integers(1, 10_000))
    )


@st.composite
def dns_settings(draw: st.DrawFn) -> DnsSetting:
    with_tls = draw(st.booleans())
    address = addresses(of_collector=True)
    server = st.builds(NameServer, address if with_tls else address | st.just(Address(4, 0x7F000001)), PORTS_OR_NONE)
    servers = draw(st.lists(server, min_size=int(with_tls), max_size=3, unique=True).map(tuple))
    ttls = sorted(draw(st.lists(st.integers(1, 604_800), min_size=2, max_size=2)))
    is_trusted = with_tls or all(one.address.is_loopback for one in servers)
    return DnsSetting(
        servers=servers,
        search=draw(st.none() | st.lists(WORDS, min_size=1, max_size=3, unique=True).map(tuple)),
        tls=draw(WORDS) if with_tls else None,
        dnssec=draw(st.sampled_from(("off", "required"))) if is_trusted else "off",
        ttl_min=ttls[0],
        ttl_max=ttls[1],
        max_stale=draw(st.integers(0, 31_536_000)),
        timeout=draw(st.none() | st.integers(1, 30)),
        hosts=draw(st.booleans()),
        resolve=draw(st.sampled_from(get_args(Resolve))),
    )


@st.composite
def configurations(draw: st.DrawFn) -> Config:
    port_names = st.lists(PORT_NAMES, min_size=1, max_size=3, unique_by=str).map(tuple)
    inputs = draw(port_names)
    outputs = inputs if draw(st.booleans()) else draw(port_names)
    names = draw(st.lists(WORDS, unique=True, max_size=5))
    n_collectors = draw(st.integers(0, len(names)))
    named = draw(named_collectors(names[:n_collectors], outputs))
    grouped = {name: draw(groups(name, named.values())) for name in names[n_collectors:]}
    receivers: list[Receiver] = [*named.values(), *grouped.values()]
    lines = range(1, 1 + draw(st.integers(1, 5)))
    ruleset = RuleSet("drawn.toml", tuple(draw(rules(receivers, line)) for line in lines), draw(EXPORTERS))
    cpus = tuple(draw(st.lists(st.integers(0, 255), max_size=3)))
    return Config(
        path="drawn.toml",
        rules=ruleset,
        inputs=inputs,
        outputs=outputs,
        own=draw(st.none() | st.lists(prefixes(), min_size=1, max_size=3, unique=True).map(tuple)),
        listen=draw(port_sets() if not named_ports(ruleset) else st.none() | port_sets()),
        loss=draw(st.none() | port_sets()),
        macs=draw(st.dictionaries(hosts_addresses(), MACS)),
        gateways=draw(st.dictionaries(prefixes(), hosts_addresses(), max_size=3)),
        vlans=draw(st.dictionaries(st.sampled_from(outputs), VLANS)),
        rarp=draw(st.dictionaries(MACS, hosts_addresses(4), max_size=2)),
        icmp=draw(
            st.builds(IcmpSetting, echo=st.integers(0, 10_000), port_unreachable=st.booleans(), too_big=st.booleans())
        ),
        sizes=draw(st.builds(Sizes, *[st.integers(1, 1 << 24)] * 3, st.integers(1, 1 << 16), st.integers(1, 1 << 20))),
        workers=len(cpus) or draw(st.integers(1, 8)),
        cpus=cpus,
        control=draw(st.none() | st.just("/var/run/gfwd/control")),
        watch=draw(st.booleans()),
        log=draw(
            st.builds(
                LogSetting,
                format=st.sampled_from(("text", "json")),
                to=st.sampled_from(("stderr", "syslog", "/var/log/gfwd.log")),
                level=st.sampled_from(("info", "warning", "error")),
            )
        ),
        listeners=draw(listeners()),
        dns=draw(dns_settings()),
        collectors=named,
        groups=grouped,
    )
