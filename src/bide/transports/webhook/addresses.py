"""Which addresses are on the public internet, and which are somebody's own network.

The tables are the IANA registries of special-purpose addresses (RFC 6890 and its successors) as of
2026, written out: what Python's `ipaddress` calls global differs between its releases, and a guard
must not.

IPv6 is judged the other way round: nothing is global but the block that is given out for it
(2000::/3), less what is special in it. That leaves out at once every way to write an IPv4 address
inside an IPv6 one (mapped `::ffff:0:0/96`, compatible `::/96`, translated `::ffff:0:0:0/96`, local
NAT64 `64:ff9b:1::/48`), unique local and link-local addresses, and multicast. 6to4, Teredo and
ISATAP lie within and are refused by name. One prefix is read through: behind DNS64 every IPv4-only
partner has an address in `64:ff9b::/96`, so that one counts as the IPv4 address that it holds.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_V4: Final = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' own, and a cloud's metadata (100.100.100.200)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # globally routed on paper; inside one cloud, its control plane
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and a cloud's metadata (192.0.0.192)
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_SPECIAL_V6: Final = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
#: The interface half of an ISATAP address, before the IPv4 address: global bit unset, or set.
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})

#: What no list of the operator's own networks opens: it is never where a partner lives.
_NEVER: Final[tuple[Network, ...]] = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "::ffff:0:0/96",
        "fd00:ec2::/32",  # a cloud's metadata
        "fe80::/10",
        "ff00::/8",
    )
)


def is_global(address: Address) -> bool:
    """True for an address that the public internet leads to."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _SPECIAL_V4)
    if address in _NAT64:
        return is_global(IPv4Address(int(address) & 0xFFFF_FFFF))
    return (
        address in _GLOBAL_V6
        and not any(address in block for block in _SPECIAL_V6)
        and int(address) >> 32 & 0xFFFF_FFFF not in _ISATAP
    )


def is_loopback(address: Address) -> bool:
    """True for this machine's own, in its two plain forms."""
    return address.is_loopback and not _is_mapped(address)


def is_within(address: Address, networks: tuple[Network, ...]) -> bool:
    """True for an address of one of these networks, unless no partner can live there."""
    return any(address in network for network in networks) and not (
        address.is_loopback or any(address in block for block in _NEVER)
    )


def _is_mapped(address: Address) -> bool:
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None
