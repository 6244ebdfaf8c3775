"""Datagrams that arrived and were thrown away: whose full sockets those were."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from softswitch.load.kernel_drops import (
    Drops,
    DropWatch,
    drops_by_inode,
    receive_errors,
    receive_errors6,
)
from softswitch.load.measure import Meter
from softswitch.load.plan import Plan
from softswitch.load.result import Result, summarise

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 2 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors
Udp: 100 2 5 120 5 0
UdpLite: InDatagrams RcvbufErrors
UdpLite: 0 9
"""
TABLE = """\
 sl local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref pointer drops
   10: 0100007F:1770 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 71 2 0 476
   11: 0100007F:A305 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 72 2 0 0
"""


def test_the_kernels_tables_are_read() -> None:
    assert receive_errors(SNMP) == 5
    assert receive_errors("") == receive_errors6("") == 0
    assert receive_errors6("Udp6InErrors    \t7\nUdp6RcvbufErrors    \t3\n") == 3
    assert drops_by_inode(TABLE) == {71: (6000, 476)}
    assert drops_by_inode("") == {}


def test_without_the_kernels_tables_nothing_is_counted(tmp_path: Path) -> None:
    watch = DropWatch(tmp_path)
    watch.begin()
    watch.look([1], [2])
    assert watch.found == Drops()


DEAF = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
sock.bind(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts them")
def test_what_a_process_does_not_fetch_is_told_with_its_port() -> None:
    """The other process is the target, this one the generator."""
    command = [sys.executable, "-c", DEAF]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        watch = DropWatch()
        watch.begin()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(500):
                sender.sendto(b"x" * 172, ("127.0.0.1", port))
        watch.look([child.pid], [os.getpid()])
        found = watch.found
        child.communicate()
    assert 400 < found.target < 500
    assert found.ports == {port: found.target}
    assert found.generator == 0
    assert found.machine >= found.target


def told(drops: Drops) -> Result:
    return summarise(Plan(scenario="uac", target=("127.0.0.1", 5060)), Meter(), 0.0, {}, drops)


def test_the_report_names_them_and_only_our_own_accuse_the_generator() -> None:
    target = told(Drops(target=476, machine=480, ports={6000: 476}))
    assert "476 datagrams had arrived" in target.notes[0]
    assert "port 6000: 476" in target.notes[0]
    assert target.notes[1].startswith("4 datagrams")
    assert target.saturated == ""
    assert target.figures["dropped_at_target"] == 476
    own = told(Drops(generator=3, machine=3))
    assert own.notes == []
    assert "3 datagrams" in own.saturated
