"""Options that hardly do what was meant."""

import pytest

from gfwd.config.reading import parse
from gfwd.config.warnings import warnings
from gfwd.rules.fields import parse_ports

GROUPS = """
ports.both = ["xdp:eth0"]
listen = "all"
[group.farm]
members = ["10.2.2.6", "10.2.2.7"]
balance = "BALANCE"
[[rule]]
source = "*"
ports = "162"
collectors = ["farm"]
priority = "A"
[[rule]]
source = "10.2.2.3"
ports = "PORTS"
collectors = ["10.2.2.8", "farm"]
priority = "A"
"""


def said(text: str, heard: str = "*") -> list[str]:
    return [f"{problem.line}: {problem.text}" for problem in warnings(parse(text, "x.toml"), parse_ports(heard))]


@pytest.mark.parametrize("ports", ["2055", "514,2055", "*", "513-514", "1-65535", "6342-6343"])
def test_templates_parted_from_data(ports: str) -> None:
    text = GROUPS.replace("PORTS", ports)
    assert said(text.replace("BALANCE", "exporter")) == []
    assert said(text.replace("BALANCE", "round-robin")) == [
        '4: balance = "round-robin" would part templates from data (NetFlow v9 and IPFIX, by x.toml:12): '
        'use balance = "exporter"'
    ]
    (of_flow,) = said(text.replace("BALANCE", "flow"))
    assert "of exporters that send the two from different source ports" in of_flow


@pytest.mark.parametrize(
    ("ports", "heard"), [("514", "*"), ("162,514,601,5514,6343,6514", "*"), ("*", "514,6343"), ("2055", "514")]
)
def test_what_has_no_templates(ports: str, heard: str) -> None:
    assert said(GROUPS.replace("BALANCE", "round-robin").replace("PORTS", ports), heard) == []


def test_a_backup_that_never_steps_in() -> None:
    text = 'ports.both = ["xdp:eth0"]\n[collector.flow]\nhost = "10.2.2.6"\nbackup = ["10.2.2.7"]\n'
    text += '[[rule]]\nsource = "default"\nports = "514"\ncollectors = ["10.2.2.9"]\n'
    without = '2: without a check, flow counts as up, and its backup never steps in: write check = "icmp"'
    assert said(text) == [without]
    assert said(text.replace("backup", 'check = "none"\nbackup')) == [without]
    assert said(text.replace("backup", 'check = "arp"\nbackup')) == []
