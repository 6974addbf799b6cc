"""Interfaces of VLANs as Linux tells of them, in its own messages."""

from __future__ import annotations

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from gfwd.l2.linux import _link

RTM_NEWLINK = 16


def told(**attributes: object) -> object:
    """What a message says, encoded and read as one off the wire is."""
    message = ifinfmsg()
    message["index"] = 9
    message["header"]["type"] = RTM_NEWLINK
    message["attrs"] = [("IFLA_IFNAME", "eth1.100"), ("IFLA_ADDRESS", "02:00:00:00:00:09"), *attributes.items()]
    message.encode()
    (found,) = MarshalRtnl().parse(bytes(message.data))
    return found


def about(kind: str, *data: tuple[str, object]) -> dict[str, object]:
    return {"attrs": [("IFLA_INFO_KIND", kind), *([("IFLA_INFO_DATA", {"attrs": list(data)})] if data else [])]}


@pytest.mark.parametrize(
    ("attributes", "vlan", "parent"),
    [
        ({"IFLA_LINK": 3, "IFLA_LINKINFO": about("vlan", ("IFLA_VLAN_ID", 100))}, 100, 3),
        (
            {"IFLA_LINK": 3, "IFLA_LINKINFO": about("vlan", ("IFLA_VLAN_ID", 7), ("IFLA_VLAN_PROTOCOL", 0x8100))},
            7,
            3,
        ),
        (  # a provider's tag
            {"IFLA_LINK": 3, "IFLA_LINKINFO": about("vlan", ("IFLA_VLAN_ID", 7), ("IFLA_VLAN_PROTOCOL", 0x88A8))},
            None,
            None,
        ),
        (  # what it stands on is in another namespace
            {"IFLA_LINK": 3, "IFLA_LINK_NETNSID": 0, "IFLA_LINKINFO": about("vlan", ("IFLA_VLAN_ID", 7))},
            None,
            None,
        ),
        ({"IFLA_LINK": 3, "IFLA_LINKINFO": about("veth")}, None, None),
        ({}, None, None),
    ],
)
def test_a_vlans_interface(attributes: dict[str, object], vlan: int | None, parent: int | None) -> None:
    link = _link(told(**attributes))
    assert (link.index, link.name, link.vlan, link.parent) == (9, "eth1.100", vlan, parent)
