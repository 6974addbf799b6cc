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


def load_netmap() -> str:
    return "kldload netmap" if _IS_FREEBSD else "modprobe netmap"


def set_netmap(setting: str, number: int) -> str:
    """dev.netmap.SETTING."""
    return (
        f"sysctl dev.netmap.{setting}={number}"
        if _IS_FREEBSD
        else f"echo {number} > /sys/module/netmap/parameters/{setting}"
    )


def add_route(address: Address, interface: str) -> str:
    if not _IS_FREEBSD:
        return f"ip route add {address} via GATEWAY dev {interface}"
    return f"route add {'-6 ' * (address.family == 6)}{address} GATEWAY"
