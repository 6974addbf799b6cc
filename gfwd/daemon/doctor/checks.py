"""The table of checks, in the order in which a packet meets what they look at: ports, cards, rules, ways; then
what no packet meets.

Each is a function without side effects, from what is asked and what is known to findings.
"""

from collections.abc import Callable, Iterator

from gfwd.daemon.doctor import check_host, check_interfaces, check_listeners, check_netmap, check_ways, check_xdp
from gfwd.daemon.doctor.facts import Asked, Facts
from gfwd.daemon.doctor.finding import Finding

Check = Callable[[Asked, Facts], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    # the host, and what all ports need
    check_host.tables_can_be_read,
    check_host.workers_have_cpus,
    check_netmap.device_opens,
    check_netmap.speaks_our_version,
    check_netmap.neighbours_can_be_asked_for,
    check_xdp.is_linuxs_own,
    check_xdp.kernel_is_new_enough,
    check_xdp.kernel_has_it,
    check_xdp.has_permission,
    check_xdp.may_lock_memory,
    # interfaces
    check_interfaces.could_be_ports,
    check_interfaces.is_there,
    check_interfaces.is_ethernet,
    check_interfaces.is_no_stack_of_others,
    check_interfaces.is_up,
    check_interfaces.has_carrier,
    check_interfaces.offloads_can_be_off,
    # opening them
    check_netmap.card_is_free,
    check_netmap.netmap_takes_the_card,
    check_netmap.driver_is_native,
    check_netmap.buffers_hold_the_frames,
    check_netmap.memory_suffices,
    check_netmap.rings_are_there,
    check_netmap.has_rings_for_the_workers,
    check_xdp.has_no_other_program,
    check_xdp.driver_has_it,
    check_xdp.mtu_fits,
    check_xdp.has_queues_for_the_workers,
    check_xdp.exporters_spread,
    # what is for gfwd, and where it goes
    check_ways.gfwd_has_an_address,
    check_ways.names_have_addresses,
    check_ways.collectors_are_others,
    check_ways.collectors_have_routes,
    check_ways.mtus_match,
    check_ways.this_host_takes_kept_sources,
    check_ways.others_take_kept_sources,
    # who may look on
    check_listeners.metrics_are_for_few,
)
