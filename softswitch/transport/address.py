"""Addresses as sockets report them, in the form that address lists are written in."""

from __future__ import annotations

import socket


def unmapped(host: str) -> str:
    """`::ffff:192.0.2.1` is 192.0.2.1: lists of IPv4 networks would miss it in its mapped form."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def own_address() -> str:
    """The address of this machine that packets to the world leave by; loopback where there is none.

    Connecting a UDP socket sends nothing: the kernel only chooses the route (the target is the
    documentation network of RFC 5737).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
