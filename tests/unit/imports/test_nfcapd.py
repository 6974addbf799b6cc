"""nfcapd's and sfcapd's command lines, as in nfcapd(1) and sfcapd(1)."""

import pytest

from gfwd.errors import ConfigError
from gfwd.imports.nfcapd import import_command, import_file
from tests.unit.imports.importing import said


def test_repeaters():
    outcome = import_command("nfcapd -A -p 2055 -R 192.0.2.1/9996 -R c.example.net -R192.0.2.2", None)
    assert outcome.text() == "# command line:1\ndefault  2055  192.0.2.1:9996 c.example.net:9995 192.0.2.2:9995\n"
    assert outcome.is_whole() and not outcome.remarks


@pytest.mark.parametrize(
    ("line", "port"),
    [("nfcapd -R 192.0.2.1", 9995), ("/usr/bin/sfcapd -R 192.0.2.1", 6343), ("-R 192.0.2.1 -D", 9995),
     ("FOO=1 exec nfcapd -R 192.0.2.1 >/dev/null 2>&1 &", 9995), ("nfcapd -DR 192.0.2.1 -p 1 -p 7 -z=lz4 -v 3", 7)],
)  # fmt: skip
def test_spellings(line, port):
    outcome = import_command(line, None)
    assert outcome.rules[0].ports == ((port, port),)
    assert [text.partition(",")[0] for text in said(outcome)] == ["1: without -A"]


def test_a_script_with_several():
    script = (
        "#!/bin/sh\necho Peter's nfcapd\n# nfcapd is started here\nnfcapd -A -R 192.0.2.1 \\\n  -p 1\n"
        "nfcapd -A -p 2 -w /data\nsfcapd -A -R 192.0.2.2/5\n"
    )
    outcome = import_file(script, "start.sh", None)
    assert outcome.text() == "# start.sh:4\ndefault  1     192.0.2.1:9995\n# start.sh:7\ndefault  6343  192.0.2.2:5\n"
    assert outcome.is_whole()


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ("-w /data", "1: gfwd stores nothing: keep nfcapd without -R as a collector"),
        ("-J 239.1.1.1", "1: -J: gfwd joins no multicast group"),
        ("-f x.pcap", "1: -f: gfwd run reads interfaces: gfwd replay"),
        ("-6", "1: -6: rules for any source take IPv4 too"),
        ("-R 2001:db8::1", "1: [2001:db8::1]:9995 gets what IPv6 exporters send"),
        ("-R 127.0.0.1/1", '1: left out: "127.0.0.1:1": a loopback address'),
        ("-R 192.0.2.1/9995", "1: 192.0.2.1:9995 would get each datagram more than once"),
        ("$MORE", '1: "$MORE" is passed over'),
        ("-q", "1: -q is passed over"),
    ],
)
def test_what_is_different(options, warning):
    outcome = import_command(f"nfcapd -A -R 192.0.2.1 {options}", None)
    assert [text.startswith(warning) for text in said(outcome)] == [True]
    assert "192.0.2.1:9995" in outcome.text()


def test_more_repeaters_than_it_takes():
    outcome = import_command("nfcapd -A" + "".join(f" -R 192.0.2.{n}" for n in range(1, 10)), None)
    assert len(outcome.rules[0].collectors) == 9
    assert said(outcome, "note") == ["1: 9 repeaters: it would take no more than 8"]


@pytest.mark.parametrize(
    "text",
    ["", "ls", "nfcapd", "nfcapd -p 9995 -w /data", "nfcapd -R", "nfcapd -R 192.0.2.1/0", "nfcapd -R 'x",
     "nfcapd -R 192.0.2.1 -p x", "nfcapd -R @", "\0\udcff", "nfcapd \\"],
)  # fmt: skip
def test_what_is_no_sound_command_line(text):
    with pytest.raises(ConfigError):
        import_file(text, "x.sh", None)
