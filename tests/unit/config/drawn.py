"""Configurations at random."""

import string

from hypothesis import strategies as st

from gfwd.config.model import Config, LogSetting
from gfwd.config.port_name import PortName
from gfwd.rules.listen import named_ports
from gfwd.rules.model import (
    ADDRESS_BITS,
    ALL_PORTS,
    FAMILIES,
    LAST_PORT,
    Address,
    Collector,
    Ports,
    Prefix,
    Rule,
    RuleSet,
    merge_ports,
)

WORDS = st.text(string.ascii_lowercase, min_size=2, max_size=6)
PORT = st.integers(1, LAST_PORT)
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


@st.composite
def configurations(draw: st.DrawFn) -> Config:
    ports = st.none() | PORT
    named = {
        name: draw(hosts(dots=0))._replace(port=draw(ports)) for name in draw(st.lists(WORDS, unique=True, max_size=3))
    }
    others = st.builds(lambda host, port: host._replace(port=port), hosts(dots=1), ports)
    collectors = others | st.sampled_from(list(named.values())) if named else others
    rules = []
    for line in range(draw(st.integers(1, 5))):
        source = draw(st.none() | prefixes())
        priority = None if source is None and draw(st.booleans()) else draw(st.sampled_from("ABZ"))
        chosen = tuple(dict.fromkeys(draw(st.lists(collectors, min_size=1, max_size=3))))
        rule = Rule(source, draw(port_sets()), chosen, priority, line + 1)
        rules.append(rule if rule.can_send() else rule._replace(source=None))
    ruleset = RuleSet("drawn.toml", tuple(rules))
    cpus = tuple(draw(st.lists(st.integers(0, 255), max_size=3)))
    names = st.lists(PORT_NAMES, min_size=1, max_size=3, unique_by=str).map(tuple)
    inputs = draw(names)
    return Config(
        path="drawn.toml",
        rules=ruleset,
        inputs=inputs,
        outputs=inputs if draw(st.booleans()) else draw(names),
        own=draw(st.none() | st.lists(prefixes(), min_size=1, max_size=3, unique=True).map(tuple)),
        listen=draw(port_sets() if not named_ports(ruleset) else st.none() | port_sets()),
        macs=draw(
            st.dictionaries(addresses(), st.binary(min_size=6, max_size=6).filter(lambda octets: not octets[0] & 1))
        ),
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
        collectors=named,
    )
