"""The fixtures of `softswitch.testing`, used as somebody else would use them."""

from __future__ import annotations

from typing import Any

import pytest

from softswitch.sim.behaviour import answer
from softswitch.testing import NotHeard

pytestmark = pytest.mark.realtime


async def test_a_call_with_its_sound_in_three_lines(
    sip_switch: Any, sip_phone: Any, assert_heard: Any
) -> None:
    one = await sip_phone(sip_switch.target, "1001", sip_switch.password, domain=sip_switch.domain)
    await assert_heard(await one.call("*43"))

    two = await sip_phone(sip_switch.target, "1002", sip_switch.password, domain=sip_switch.domain)
    two.behaviour = answer()
    call = await one.call("1002")
    await call.answered()
    await assert_heard(call, await two.incoming(), seconds=1.5)

    deaf = await sip_phone(sip_switch.target, "1003", sip_switch.password, domain=sip_switch.domain)
    other = await one.call("1003")
    await other.answered()
    taken = await deaf.incoming()
    await taken.hold()  # he hears nothing any more, and what the caller hears is music
    with pytest.raises(NotHeard, match="the callee"):
        await assert_heard(other, taken, seconds=1.0)
