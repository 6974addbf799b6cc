"""gfwd's own addresses, as the kernel has them."""

from collections.abc import Iterable

from gfwd.config.port_name import PortName
from gfwd.l2.kernel import Kernel
from gfwd.rules.model import ADDRESS_BITS, Prefix


def addresses_on(kernel: Kernel, names: Iterable[PortName]) -> tuple[Prefix, ...]:
    """What the kernel has on these ports. Who has no interface has none; who names one that is not there hears of that
    elsewhere. Raises GfwdError.
    """
    interfaces = {name.interface for name in names}
    return tuple(
        Prefix(address.family, address.value, ADDRESS_BITS[address.family])
        for link in kernel.links()
        if link.name in interfaces
        for address, _ in kernel.addresses(link.index)
    )
