"""The echo test: the caller hears himself, and so knows that audio passes both ways."""

from __future__ import annotations

from softswitch.call.call import Call

_LONGEST_S = 600.0


async def echo_test(call: Call, _: str = "") -> None:
    """Answer, beep, and send the caller's audio back until he hangs up, ten minutes at most."""
    await call.answer()
    await call.echo(True)
    await call.sleep(_LONGEST_S)
