"""Options: what argparse says about values that their readers refuse."""

import argparse
from dataclasses import replace

import pytest

from gfwd.cli import options
from gfwd.config import values
from gfwd.errors import UsageError
from gfwd.rules.model import Address


def test_argparse_says_what_the_reader_said():
    with pytest.raises(argparse.ArgumentTypeError, match="'x' is not a number from 1 up"):
        options.value(values.count)("x")


def told(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add_forwarding(parser)
    return parser.parse_args(words)


ALL = ("--in", "xdp:eth0", "--out", "xdp:eth1", "--port", "xdp:eth2", "--address", "192.0.2.1", "--listen", "514",
       "--mac", "192.0.2.9=02:00:00:00:00:01", "--cpu", "2,3")  # fmt: skip
TOML = """
address = ["192.0.2.1"]
listen = 514
cpus = [2, 3]
ports = {in = ["xdp:eth0"], out = ["xdp:eth1"], both = ["xdp:eth2"]}
neighbours = {"192.0.2.9" = "02:00:00:00:00:01"}
rules = "some.rules"
"""


def test_options_and_a_file_say_the_same(tmp_path):
    (tmp_path / "some.rules").write_text("default 514 10.2.2.6")
    (tmp_path / "gfwd.toml").write_text(TOML)
    by_options = options.config(told("--rules", str(tmp_path / "some.rules"), *ALL), "gfwd run")
    by_file = options.config(told("-c", str(tmp_path / "gfwd.toml")), "gfwd run")
    assert by_options == replace(by_file, path=by_options.path)


@pytest.mark.parametrize(
    "words",
    [("--rules", "x"), *zip(ALL[::2], ALL[1::2], strict=True), ("--workers", "2")],
    ids=lambda words: words[0],
)
def test_nothing_stands_beside_a_file(words):
    with pytest.raises(UsageError, match=f"^gfwd run: error: -c none says it all: write {words[0]} there"):
        options.config(told("-c", "none", *words), "gfwd run")


@pytest.mark.parametrize(
    ("text", "datagram"),
    [
        ("10.2.2.3:514", (Address(4, 0x0A020203), 514)),
        ("10.2.2.3:0", (Address(4, 0x0A020203), 0)),
        ("[2001:db8::3]:65535", (Address(6, (0x20010DB8 << 96) + 3), 65535)),
    ],
)
def test_datagram(text, datagram):
    assert options.datagram(text) == datagram


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "10.2.2.3", "10.2.2.3:", ":514", "514", "10.2.2.3:65536", "10.2.2.3:-1", "10.2.2.3:5_14", "10.2.2.3:٣",
        "10.2.2.3:syslog", "[10.2.2.3]:514", "2001:db8::3:514", "[2001:db8::3]", "[2001:db8::3:514", "10.2.2.0/24:514",
        "[fe80::1%eth0]:514", "router.example.net:514", "*:514",
    ],
)  # fmt: skip
def test_no_datagram(text):
    with pytest.raises(ValueError, match=r"right would be 10\.2\.2\.3:514 or \[2001:db8::3\]:514"):
        options.datagram(text)


def test_neither_file_nor_rules():
    with pytest.raises(UsageError, match="neither -c nor --rules"):
        options.config(told(*ALL), "gfwd run")
    for half in (("--in", "xdp:eth0"), ("--out", "xdp:eth0")):
        with pytest.raises(UsageError, match=r"there is no --(in|out); right would be"):
            options.config(told("--rules", "x", *half), "gfwd run")
