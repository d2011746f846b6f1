"""The addresses at which other machines may reach this one."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of a network interface
LOOPBACK = "127.0.0.1"


def addresses() -> list[str]:
    """The IPv4 addresses of this machine's network interfaces, or of its name where they can't be asked. Loopback,
    which means another machine elsewhere, is the last.
    """
    found = []
    with suppress(OSError, ImportError, AttributeError):
        from fcntl import ioctl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for _, name in socket.if_nameindex():
                with suppress(OSError):  # an interface without an address
                    answer = ioctl(asking.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()))
                    found.append(socket.inet_ntoa(answer[20:24]))
    if not found:
        with suppress(OSError):
            found = socket.gethostbyname_ex(socket.gethostname())[2]
    return [*dict.fromkeys(a for a in found if a != LOOPBACK), LOOPBACK]
