"""pmacct's tee plugin. The format is that of its CONFIG-KEYS, QUICKSTART and examples/, the matching tee_plugin.c's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfwd.errors import ConfigError
from gfwd.imports.imported import Imported
from gfwd.imports.pmacct import import_file
from gfwd.rules.model import Address, Prefix
from tests.unit.imports.importing import receivers, said

CONFIG = "nfacctd_port: 2100\nplugins: tee\ntee_receivers: r.lst\ntee_transparent: true\n"


def turned(config: str, **files: str) -> Imported:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return import_file(config, "n.conf", None, named.__getitem__)


# ---- Against a stupid model ----

TENS = [Prefix(4, 0x0A000000, 8), Prefix(4, 0x0A010000, 16), Prefix(4, 0x0A010200, 24), Prefix(4, 0x0A010203, 32)]
PREFIXES = [*TENS, Prefix(4, 0x0B000000, 8), Prefix(4, 0, 0), Prefix(6, 0x20010DB8 << 96, 32), Prefix(6, 0, 0), None]
ADDRESSES = [Address(4, value) for value in (1, 0x0A000001, 0x0A010001, 0x0A010201, 0x0A010203, 0x0B000001)]
ADDRESSES += [Address(6, value) for value in (1, 0x20010DB8 << 96, 0x20010DB9 << 96)]
ITEMS = st.tuples(st.integers(0, 4), st.integers(0, 2), st.booleans())  # first, how many more, negative


def tag_of(rows: list[tuple[Prefix | None, int]], source: Address) -> int:
    bits = 32 if source.family == 4 else 128
    for prefix, tag in rows:
        if prefix is None or prefix.holds(Prefix(source.family, source.value, bits)):
            return tag
    return 0


def is_filtered(items: list[tuple[int, int, bool]], tag: int) -> bool:
    """What evaluate_tags() of util.c returns."""
    if not items:
        return False
    for first, more, negative in items:
        if first <= tag <= first + more:
            return negative
        if negative:
            return False
    return True


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.sampled_from(PREFIXES), st.integers(1, 5)), max_size=6),
    st.lists(st.tuples(st.sampled_from("123"), st.lists(ITEMS, max_size=3)), min_size=1, max_size=4),
)
def test_the_same_receivers_as_pmacct(
    rows: list[tuple[Prefix | None, int]], pools: list[tuple[str, list[tuple[int, int, bool]]]]
) -> None:
    rows_text = "".join(f"set_tag={tag}" + (f" ip={prefix}" if prefix else "") + "\n" for prefix, tag in rows)
    pools_text = ""
    for number, (host, items) in enumerate(pools, 1):
        tags = ",".join(f"{'-' * negative}{a}" + (f"-{a + more}" if more else "") for a, more, negative in items)
        ip = f"192.0.2.{host}:1,[2001:db8::{host}]:1"
        pools_text += f"id={number} ip={ip}" + (f" tag={tags}" if tags else "") + "\n"
    outcome = turned(f"{CONFIG}pre_tag_map: m.map\n", r_lst=pools_text, m_map=rows_text)
    for source in ADDRESSES:
        hosts = {host for host, items in pools if not is_filtered(items, tag_of(rows, source))}
        start = "192.0.2.{}:1" if source.family == 4 else "[2001:db8::{}]:1"
        assert receivers(outcome, source) == {start.format(host) for host in hosts}


# ---- What is said ----


def test_a_plain_replicator():
    outcome = turned(CONFIG, r_lst="id=1\tip=192.0.2.1:2100\n! id=9 ip=x\nid=2\tip=192.0.2.2:9995,c.example.net:1\n")
    assert outcome.text() == "# r.lst:1, r.lst:3\ndefault  2100  192.0.2.1:2100 192.0.2.2:9995 c.example.net:1\n"
    assert outcome.is_whole() and not outcome.remarks


def test_files_lie_beside_the_configuration():
    files = {"/etc/pmacct/r.lst": "id=1 ip=192.0.2.1:1\n"}
    assert import_file(CONFIG, "/etc/pmacct/n.conf", None, files.__getitem__).places[0][0].path == "/etc/pmacct/r.lst"
    files = {"/r.lst": "id=1 ip=192.0.2.1:1\n"}
    outcome = import_file(CONFIG.replace("r.lst", "/r.lst"), "/etc/pmacct/n.conf", None, files.__getitem__)
    assert outcome.places[0][0].path == "/r.lst"


@pytest.mark.parametrize(
    ("pool", "warning"),
    [
        ("id=9 ip=192.0.2.3:1,192.0.2.4:1 balance-alg=rr", "balance-alg sends each datagram to one of 2 receivers"),
        ("id=9 ip=192.0.2.3:1 src_port=5", "src_port: gfwd keeps the exporter's port"),
        ("id=9 kafka_broker=a:1 kafka_topic=b", "left out: kafka_broker: gfwd forwards to UDP collectors only"),
        ("id=9 zmq_address=192.0.2.3:1", "left out: zmq_address"),
        ("id=9 ip=127.0.0.1:1", 'left out: "127.0.0.1:1": a loopback address'),
        ("id=9 ip=[2001:db8::1]:1", "[2001:db8::1]:1 gets what IPv6 exporters send"),
        ("id=9 ip=192.0.2.1:1", "192.0.2.1:1 would get a datagram more than once"),
    ],
)
def test_what_is_different_in_a_pool(pool, warning):
    outcome = turned(CONFIG, r_lst=f"id=1 ip=192.0.2.1:1\n{pool}\n")
    assert [text.startswith(f"2: {warning}") for text in said(outcome)] == [True]
    assert "192.0.2.1:1" in outcome.text()


@pytest.mark.parametrize(
    ("setting", "warning"),
    [
        ("tee_transparent: false", "without tee_transparent, pmacct sends from its own address"),
        ("tee_source_ip: 192.0.2.9", "tee_source_ip: gfwd sends from no address of its own"),
        ("nfacctd_allow_file: a.lst", "nfacctd_allow_file: gfwd has no list of exporters"),
        ("tee_ipprec: 5", "tee_ipprec: gfwd leaves"),
    ],
)
def test_what_is_different_in_a_setting(setting, warning):
    outcome = turned(f"{CONFIG}{setting}\n", r_lst="id=1 ip=192.0.2.1:1\n")
    assert [text.startswith(f"5: {warning}") for text in said(outcome)] == [True]


def test_a_map_that_looks_into_the_flows():
    outcome = turned(
        f"{CONFIG}pre_tag_map: m.map\n",
        r_lst="id=1 ip=192.0.2.1:1\nid=2 ip=192.0.2.2:1 tag=5\n",
        m_map="set_tag=5 src_net=10.0.0.0/8\n",
    )
    assert outcome.text() == "# r.lst:1\ndefault  2100  192.0.2.1:1\n"
    assert [remark.path for remark in outcome.remarks] == ["m.map", "r.lst"]


def test_nothing_that_can_be_turned():
    outcome = turned(CONFIG, r_lst="id=1 kafka_broker=a:1 kafka_topic=b\n")
    assert (outcome.text(), outcome.is_whole()) == ("", False)


@pytest.mark.parametrize(
    ("config", "pools"),
    [
        ("", ""),
        ("plugins: print\n", ""),
        ("plugins: tee\n", ""),
        ("nonsense\n", ""),
        ("plugins: tee[a\ntee_receivers[a: x\n", ""),
        (CONFIG.replace("2100", "0"), "id=1 ip=192.0.2.1:1\n"),
        (CONFIG, ""),
        (CONFIG, "id=0 ip=192.0.2.1:1\n"),
        (CONFIG, "id=1\n"),
        (CONFIG, "ip=192.0.2.1:1\n"),
        (CONFIG, "id=1 ip=192.0.2.1\n"),
        (CONFIG, "id=1 ip=192.0.2.1:0\n"),
        (CONFIG, "id=1 ip=192.0.2.1:1 tag=x\n"),
        (CONFIG, "id=1 ip=192.0.2.1:1 what=x\n"),
        (CONFIG, "\0\0\udcff\n"),
    ],
)
def test_what_is_no_sound_configuration(config, pools):
    with pytest.raises(ConfigError):
        turned(config, r_lst=pools)
