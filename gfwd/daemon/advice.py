"""Commands that mend something, as an operator of this system types them."""

from gfwd import system
from gfwd.rules.model import Address

_IS_FREEBSD = system.NAME == "FreeBSD"


def bring_up(interface: str) -> str:
    return f"ifconfig {interface} up" if _IS_FREEBSD else f"ip link set dev {interface} up"


def make_promiscuous(interface: str) -> str:
    return f"ifconfig {interface} promisc" if _IS_FREEBSD else f"ip link set dev {interface} promisc on"


def set_mtu(interface: str, mtu: int) -> str:
    return f"ifconfig {interface} mtu {mtu}" if _IS_FREEBSD else f"ip link set dev {interface} mtu {mtu}"


def fewer_queues(interface: str) -> str:
    """FreeBSD's cards read the number when they are found, each driver by a name of its own, or by iflib(4)'s."""
    if _IS_FREEBSD:
        return "loader.conf: hw.ix.num_queues, or dev.ix.0.iflib.override_nrxqs and override_ntxqs"
    return f"ethtool -L {interface}"


def load_netmap() -> str:
    return "kldload netmap" if _IS_FREEBSD else "modprobe netmap"


def set_netmap(**settings: int) -> str:
    """dev.netmap.SETTING, each of them."""
    if _IS_FREEBSD:
        return " ".join(["sysctl", *(f"dev.netmap.{name}={number}" for name, number in settings.items())])
    return " && ".join(f"echo {number} > /sys/module/netmap/parameters/{name}" for name, number in settings.items())


def reach(address: Address, gateway: Address | None, interface: str) -> str:
    """A way to it; gateway: that the operator has named before it, and that has to be on the link itself."""
    if gateway is None:
        return add_route(address, interface)
    if not _IS_FREEBSD:
        return f"ip route add {gateway} dev {interface}"
    return f"route add {'-6 ' * (gateway.family == 6)}{gateway} -interface {interface}"


def add_route(address: Address, interface: str) -> str:
    if not _IS_FREEBSD:
        return f"ip route add {address} via GATEWAY dev {interface}"
    return f"route add {'-6 ' * (address.family == 6)}{address} GATEWAY"
