"""Addresses as sockets report them, in the form that address lists are written in."""

from __future__ import annotations


def unmapped(host: str) -> str:
    """`::ffff:192.0.2.1` is 192.0.2.1: lists of IPv4 networks would miss it in its mapped form."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host
