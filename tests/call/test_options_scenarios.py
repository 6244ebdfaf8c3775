"""What the exchange says of itself to those who ask."""

from __future__ import annotations

from softswitch.sim.loop import simulated
from softswitch.sim.world import World


@simulated()
async def test_options_are_answered_with_what_the_exchange_can_do():
    """RFC 3261 11.2: Allow, Accept and Supported."""
    async with World(11) as world:
        phone = await world.phone("1001")
        answer = await phone.request("OPTIONS", f"sip:{phone.domain}", to=f"sip:{phone.domain}")
        assert answer.status == 200
        allowed = {method.strip() for method in answer.headers.get("Allow").split(",")}
        assert {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REFER"} <= allowed
        assert answer.headers.lists("Accept", "application/sdp")
        assert answer.headers.lists("Accept", "multipart/mixed")
        for extension in ("replaces", "timer", "100rel", "path", "outbound", "norefersub"):
            assert answer.headers.lists("Supported", extension), extension
        assert answer.headers.lists("Allow-Events", "dialog")
