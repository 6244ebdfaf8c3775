"""The fixtures of `softswitch.testing`, used as somebody else would use them."""

from __future__ import annotations

from typing import Any

import pytest

from softswitch.sim.behaviour import answer
from softswitch.sim.phone_call import CallNotAnswered
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


async def test_a_trunk_is_called_and_calls_and_is_heard(
    sip_switch: Any, sip_phone: Any, sip_trunk: Any, assert_heard: Any
) -> None:
    host, port = sip_switch.carrier
    trunk = await sip_trunk(sip_switch.target, host=host, port=port)
    phone = await sip_phone(
        sip_switch.target, "1001", sip_switch.password, domain=sip_switch.domain
    )
    out = await phone.call("9555")
    await out.answered()
    taken = await trunk.incoming()
    assert taken.number == "1001"  # who calls
    await assert_heard(out, taken, seconds=1.0)
    out.hang_up()
    await out.ended()

    phone.behaviour = answer()
    inward = await trunk.call("1001")
    await inward.answered()
    await assert_heard(inward, await phone.incoming(), seconds=1.0)
    trunk.available = False
    with pytest.raises(CallNotAnswered, match="503"):
        await (await phone.call("9556")).answered()
