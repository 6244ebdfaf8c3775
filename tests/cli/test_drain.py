"""`softswitch drain`: what the server is asked for, and what is said of it."""

from __future__ import annotations

import pytest

from softswitch.cli.drain import told
from softswitch.commands import AdminCommands
from softswitch.errors import SoftswitchError
from softswitch.sim.loop import simulated
from softswitch.sim.world import World


@simulated()
async def test_a_worker_is_drained_and_let_be_again_and_one_that_is_none_is_named():
    async with World(1) as world:
        commands = AdminCommands(world.switch).by_name
        await commands["drain"]({"worker": 0})
        assert world.media.draining == {0}
        await commands["drain"]({"worker": 0, "on": False})
        assert world.media.draining == set()
        for wrong in (99, -1, "0", None):
            with pytest.raises(SoftswitchError, match="no media worker"):
                await commands["drain"]({"worker": wrong})


def test_what_is_said():
    row = {"worker": 1, "streams": 4, "draining": True}
    assert told(row, on=True) == "worker 1 gets no new calls and is renewed after its 4 streams"
    renewed = "worker 1 had no calls: a fresh process takes its place now"
    assert told(row | {"draining": False}, on=True) == renewed
    assert told(row | {"draining": False}, on=False) == "worker 1 takes calls"
