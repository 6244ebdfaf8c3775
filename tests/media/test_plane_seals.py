"""Keys that change while a call goes on (a re-INVITE with another `a=crypto`)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from media.protocol import Connect
from media.wire import srtp

A, B = ("10.0.0.1", 4000), ("10.0.0.2", 4000)
pytestmark = pytest.mark.skipif(not srtp.available(), reason="pylibsrtp is not installed")


class SealedPhone:
    """Speaks and hears under one pair of keys at a time."""

    def __init__(self, talker, suite):
        self.talker, self.suite, self.fill = talker, suite, 0
        self.renew()

    def renew(self):
        """New keys both ways, as its next offer and our answer have them."""
        self.fill += 2
        theirs, ours = (
            srtp.make_crypto(1, self.suite, bytes([fill] * 60))
            for fill in (self.fill, self.fill + 1)
        )
        self.keys = {"srtp_in": str(theirs), "srtp_out": str(ours)}
        self.to_us, self.from_us = srtp.SrtpTable(1), srtp.SrtpTable(1)
        self.to_us.set_outbound(0, theirs)
        self.from_us.set_inbound(0, ours)

    def _through(self, method, data):
        batch = np.zeros((1, 256), np.uint8)
        batch[0, : len(data)] = np.frombuffer(data, np.uint8)
        size = np.array([len(data)])
        good = bool(method(np.zeros(1, np.intp), batch, size)[0])
        return batch[0, : int(size[0])].tobytes() if good else None

    def sealed(self):
        return self._through(self.to_us.protect, self.talker.packet())

    def opened(self, data):
        return self._through(self.from_us.unprotect, data)


@pytest.mark.parametrize("suite", list(srtp.SUITES))
def test_a_call_goes_on_under_new_keys_and_the_old_ones_are_worth_nothing(
    world, make_talker, suite
):
    # The numbers wrap on the way: the roll-over counter begins anew with the key.
    phone = SealedPhone(make_talker(A, ssrc=5, sequence=65_500), suite)
    plain = make_talker(B, ssrc=6)
    world.open(1, A, port_id=2, **phone.keys)
    world.open(2, B, port_id=4)
    world.do(Connect(1, 2))

    def run(packets):
        """How many the plain side got, and how many of ours the sealed side could open."""
        got, opened = [], 0
        for _ in range(packets):
            world.io.deliver(2, A, phone.sealed())
            world.io.deliver(4, B, plain.packet())
            world.engine.poll(world.now_s)
            world.now_s += 0.02
            for datagram in world.io.take_sent():
                if 192 <= datagram.data[1] <= 223:
                    continue
                if datagram.remote == B:
                    got.append(int.from_bytes(datagram.data[2:4], "big"))
                else:
                    opened += phone.opened(datagram.data) is not None
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(got))
        return len(got), opened

    assert run(60) == (60, 60)
    old = phone.to_us, phone.from_us
    phone.renew()
    new = phone.to_us, phone.from_us
    world.configure(1, A, **phone.keys)
    phone.to_us, phone.from_us = old
    assert run(3) == (0, 0)
    assert world.engine.stats(1).dropped == {"srtp": 3}
    phone.to_us, phone.from_us = new
    assert run(60) == (60, 60)
    world.configure(1, A, **phone.keys)  # said again: the replay window stays
    assert run(5) == (5, 5)
