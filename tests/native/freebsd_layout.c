/* What gfwd's Python takes for granted of FreeBSD's structures and requests; compiled against its headers, never run. */
#include <stddef.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/sysctl.h>
#include <net/bpf.h>
#include <net/if.h>
#include <net/if_dl.h>
#include <net/route.h>
#include <netinet/in.h>
#include <netinet6/in6_var.h>
#include <netinet6/nd6.h>
#include <sys/ioctl.h>

#define IS(what, value) _Static_assert((what) == (value), #what)

/* gfwd/l2/rtsock.py */
IS(RTM_VERSION, 5);
IS(RTM_ADD, 0x1);
IS(RTM_DELETE, 0x2);
IS(RTM_CHANGE, 0x3);
IS(RTM_GET, 0x4);
IS(RTM_NEWADDR, 0xc);
IS(RTM_DELADDR, 0xd);
IS(RTM_IFINFO, 0xe);
IS(RTM_IFANNOUNCE, 0x11);
IS(RTF_UP, 0x1);
IS(RTF_GATEWAY, 0x2);
IS(RTF_HOST, 0x4);
IS(RTF_REJECT, 0x8);
IS(RTF_LLDATA, 0x400);
IS(RTF_STATIC, 0x800);
IS(RTF_BLACKHOLE, 0x1000);
IS(RTA_DST, 0x1);
IS(RTA_GATEWAY, 0x2);
IS(RTA_NETMASK, 0x4);
IS(RTA_IFP, 0x10);
IS(RTA_IFA, 0x20);
IS(AF_INET, 2);
IS(AF_INET6, 28);
IS(AF_LINK, 18);
IS(sizeof(struct rt_msghdr), 152);
IS(offsetof(struct rt_msghdr, rtm_index), 4);
IS(offsetof(struct rt_msghdr, rtm_flags), 8);
IS(offsetof(struct rt_msghdr, rtm_pid), 16);
IS(offsetof(struct rt_msghdr, rtm_seq), 20);
IS(offsetof(struct rt_msghdr, rtm_rmx.rmx_expire), 64);
IS(offsetof(struct if_msghdr, ifm_flags), 8);
IS(offsetof(struct if_msghdr, ifm_index), 12);
IS(offsetof(struct if_msghdr, ifm_data), 16);
IS(offsetof(struct if_msghdr, ifm_data.ifi_link_state), 20);
IS(offsetof(struct if_msghdr, ifm_data.ifi_datalen), 22);
IS(offsetof(struct if_msghdr, ifm_data.ifi_mtu), 24);
IS(sizeof(struct ifa_msghdr), 20);
IS(offsetof(struct ifa_msghdr, ifam_index), 12);
IS(offsetof(struct sockaddr_dl, sdl_nlen), 5);
IS(offsetof(struct sockaddr_dl, sdl_alen), 6);
IS(offsetof(struct sockaddr_dl, sdl_data), 8);
IS(sizeof(struct sockaddr_in), 16);
IS(sizeof(struct sockaddr_in6), 28);

/* gfwd/l2/freebsd.py */
IS(AF_ROUTE, 17);
IS(SO_RERROR, 0x20000);
IS(CTL_NET, 4);
IS(NET_RT_FLAGS, 2);
IS(NET_RT_IFLIST, 3);
IS(IFF_UP, 0x1);
IS(LINK_STATE_DOWN, 1);
IS(BIOCSETIF, 0x8020426cUL);
IS(BIOCSHDRCMPLT, 0x80044275UL);
IS(SIOCGNBRINFO_IN6, 0xc038694eUL);
IS(sizeof(struct in6_nbrinfo), 56);
IS(offsetof(struct in6_nbrinfo, state), 44);
IS(ND6_LLINFO_NOSTATE, -2);
IS(ND6_LLINFO_INCOMPLETE, 0);
IS(ND6_LLINFO_REACHABLE, 1);
IS(ND6_LLINFO_STALE, 2);
IS(ND6_LLINFO_DELAY, 3);
IS(ND6_LLINFO_PROBE, 4);

/* gfwd/daemon/card/freebsd.py */
IS(SIOCSIFFLAGS, 0x80206910UL);
IS(SIOCGIFFLAGS, 0xc0206911UL);
IS(SIOCSIFCAP, 0x8020691eUL);
IS(SIOCGIFCAP, 0xc020691fUL);
IS(SIOCGIFDATA, 0x8020692cUL);
IS(BIOCPROMISC, 0x20004269UL);
IS(sizeof(struct ifreq), 32);
IS(offsetof(struct ifreq, ifr_flags), 16);
IS(offsetof(struct ifreq, ifr_flagshigh), 18);
IS(offsetof(struct ifreq, ifr_reqcap), 16);
IS(offsetof(struct ifreq, ifr_curcap), 20);
IS(offsetof(struct ifreq, ifr_data), 16);
IS(sizeof(struct if_data), 152);
IS(offsetof(struct if_data, ifi_epoch), 128);
IS(IFCAP_RXCSUM, 0x1);
IS(IFCAP_TXCSUM, 0x2);
IS(IFCAP_RXCSUM_IPV6, 0x200000);
IS(IFCAP_TXCSUM_IPV6, 0x400000);
IS(IFCAP_TSO4, 0x100);
IS(IFCAP_TSO6, 0x200);
IS(IFCAP_LRO, 0x400);
IS(IFCAP_VLAN_HWTAGGING, 0x10);
IS(IFCAP_VLAN_HWCSUM, 0x80);
IS(IFCAP_VLAN_HWTSO, 0x40000);

/* gfwd/daemon/doctor/freebsd.py */
IS(SIOCGIFGROUP, 0xc0286988UL);
IS(sizeof(struct ifgroupreq), 40);
IS(IFCAP_NETMAP, 0x100000);
