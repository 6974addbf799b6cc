"""Where a listener waits for connections, as gfwd.toml names it."""

from typing import NamedTuple

from gfwd.rules.model import Address


class Endpoint(NamedTuple):
    """An address of this host, or 0.0.0.0 or :: for all of them, and a TCP port."""

    address: Address
    port: int

    def is_on_all_addresses(self) -> bool:
        return self.address.value == 0

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.family == 6 else f"{self.address}:{self.port}"
