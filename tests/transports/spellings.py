"""Ways to write an address that no webhook may go to, most of which some program reads."""

from ipaddress import IPv4Address
from typing import Final

#: One of each kind: this machine, private, link-local, metadata services, carriers', reserved.
TARGETS: Final = (
    "127.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
)

#: Hosts that are no spelling of an IPv4 address, and hosts with something around them.
SPECIAL: Final = (
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "localhost%00.partner.example",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::]",
    "[::1%lo]",
    "[::1%25lo]",
    "[fe80::1]",
    "[fe80::1%eth0]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[100::1]",
    "[2001:db8::1]",
    "[2001:10::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[::1",
    "::1",
    "[::1]]",
    "[[::1]]",
    "[::1].partner.example",
    "[127.0.0.1]",
    "[v1.127.0.0.1]",
    "127.0.0.1:0",
    "127.0.0.1:065536",
    "127.0.0.1:22",
    "127.0.0.1:443:443",
    "127.0.0.1:+443",
    "127.0.0.1: 443",
    "127.0.0.1:\uff14\uff14\uff13",
    "partner.example@127.0.0.1",
    "partner.example:443@127.0.0.1",
    "partner.example%40127.0.0.1",
    "127.0.0.1\\@partner.example",
    "partner.example\\@127.0.0.1",
    "127.0.0.1#@partner.example",
    "127.0.0.1?@partner.example",
    "127.0.0.1/@partner.example",
    "127.0.0.1\t",
    "127.0.0.1\n.partner.example",
    "127.0.0.1 partner.example",
    "127.0.0.1,partner.example",
    "127.0.0.1%2f.partner.example",
    "127.0.0.256",
    "127.0.0.1.5",
    "0x7f.0.0.0x",
    "0177.0.0.01.",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "ｌｏｃａｌｈｏｓｔ",
    "127.0.0.1\u00ad",
    "\u200b127.0.0.1",
    "",
    ".",
    "..",
    "-",
)


def spellings(address: str) -> list[str]:
    """The address in every form that an inet_aton, a URL parser or a tunnel may read."""
    number = int(IPv4Address(address))
    a, b, c, d = IPv4Address(address).packed
    high, low = number >> 16, number & 0xFFFF
    in_v6 = f"{high:x}:{low:x}"
    return [
        address,
        f"{address}.",
        f"{number}",
        f"{number:#x}",
        f"{number:#X}",
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{low}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"0{a:o}.{b}.{c:#x}.{d}",
        f"{a:03}.{b:03}.{c:03}.{d:03}",
        "".join(chr(0xFF10 + int(each)) if each.isdigit() else each for each in address),
        "".join(f"%{ord(each):02x}" for each in address),
        f"[::ffff:{address}]",
        f"[::ffff:{in_v6}]",
        f"[::{address}]",
        f"[::ffff:0:{address}]",
        f"[64:ff9b::{address}]",
        f"[64:ff9b:1::{address}]",
        f"[2002:{in_v6}::1]",
        f"[2001:0:4136:e378:8000:63bf:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]",
        f"[2a00:1450::5efe:{address}]",
        f"[2a00:1450::200:5efe:{in_v6}]",
    ]


HOSTS: Final = tuple(
    dict.fromkeys([*(each for target in TARGETS for each in spellings(target)), *SPECIAL])
)
