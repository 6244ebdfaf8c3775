"""A name server (Debian's dnsmasq-base) on loopback, whose zones a test writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .ports import HOST, free_port, listening
from .process import Process, require, wait_until

CONFIG = """\
port={port}
listen-address={host}
bind-interfaces
no-resolv
no-hosts
local-ttl={ttl_s}
user=root
{records}
"""


class Dnsmasq:
    """Answers at `address`; `use` makes it one with other records.

    Parameters: `records`, lines of its configuration; `ttl_s` of each of them.
    """

    def __init__(self, directory: Path, records: Sequence[str], *, ttl_s: int = 5) -> None:
        self._program = require("dnsmasq", "dnsmasq-base")
        self._directory, self._ttl_s = directory, ttl_s
        self._runs = 0
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        directory.mkdir(parents=True, exist_ok=True)
        self.process = self._start(records)

    def _start(self, records: Sequence[str]) -> Process:
        config = self._directory / "dnsmasq.conf"
        text = CONFIG.format(
            port=self.port, host=HOST, ttl_s=self._ttl_s, records="\n".join(records)
        )
        config.write_text(text)
        self._runs += 1
        command = [self._program, "--no-daemon", "--log-queries", "-C", str(config)]
        process = Process(f"dnsmasq-{self._runs}", command, self._directory)
        wait_until(lambda: listening(self.port), lambda: f"dnsmasq:\n{process.tail()}")
        return process

    def use(self, records: Sequence[str]) -> None:
        """From now on these records, and no others."""
        self.process.stop()
        self.process = self._start(records)

    def close(self) -> None:
        self.process.stop()


def service(name: str, *servers: tuple[str, int]) -> list[str]:
    """NAPTR, SRV and A records of a service over UDP: its servers, (label, port), in their order, all at
    HOST."""
    srv = f"_sip._udp.{name}"
    records = [f"local=/{name}/", f"naptr-record={name},10,5,s,SIP+D2U,,{srv}"]
    for priority, (label, port) in enumerate(servers, 1):
        records.append(f"srv-host={srv},{label}.{name},{port},{priority},0")
        records.append(f"host-record={label}.{name},{HOST}")
    return records
