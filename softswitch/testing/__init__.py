"""For tests of your own switch or of anything that speaks SIP: telephones, trunks, and calls whose
sound is asserted.

The pytest plugin comes with the package; three lines make a test::

    async def test_the_echo_test(sip_phone, assert_heard):
        phone = await sip_phone("sip:127.0.0.1:5060", "1001", "secret")
        await assert_heard(await phone.call("*43"))  # it answers, and our voice comes back

`Laboratory` makes the same things without pytest.
"""

from __future__ import annotations

from softswitch.testing.laboratory import Heard, Laboratory, NotHeard

__all__ = ["Heard", "Laboratory", "NotHeard"]
