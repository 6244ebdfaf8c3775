"""A callback between real telephones: who waits presses the key, hangs up and is called when it is his turn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.peers.audio import SOON_S, TALK_S, assert_heard
from tests.interop.peers.baresip import Baresip, settle
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.server import Server, Trunk

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]

CUSTOMER = "+861055550001"
OFFICE = """
[[outbound]]
prefix = "9"
strip = 1
permission = "national"
trunks = ["carrier"]
[[inbound]]
number = "88000"
to = "queue:support"
[[queue]]
name = "support"
number = "5000"
wrap_up_s = 0
tell_agent = []
announce = { position = false, wait = false }
callback = { offer_after_s = 0, key = "1" }
[[agent]]
id = "lilei"
name = "Li Lei"
extension = "1001"
password = "console-secret-lilei"
queues = ["support"]
"""


@pytest.mark.slow
def test_who_pressed_the_key_and_hung_up_is_called_and_the_two_hear_each_other(
    serve: Serve, baresip: Phone, voices: dict
) -> None:
    port = free_port()
    server = serve(extensions=("1001",), more=OFFICE, trunks=[Trunk("carrier", f"{HOST}:{port}")])
    customer = baresip(
        server, CUSTOMER, plays="caller-soon", register=False, password="none", sip_port=port
    )
    customer.dial("88000")
    customer.wait_event("CALL_ESTABLISHED")
    settle([customer], 0.5)
    customer.press("1")
    settle([customer], 0.5)
    customer.hang_up()  # while it is being said that he will be called
    customer.wait_event("CALL_CLOSED")

    since = customer.mark()
    desk = baresip(server, "1001", plays="callee-soon")
    desk.dial("*22")
    desk.wait_event("CALL_CLOSED")
    customer.wait_event("CALL_ESTABLISHED", since=since)
    settle([customer, desk], SOON_S + TALK_S)
    desk.hang_up()
    customer.wait_event("CALL_CLOSED", since=since)
    assert_heard(voices["callee"].samples, customer.heard(), "the agent, by who is called back")
    assert_heard(voices["caller"].samples, desk.heard(), "who is called back, at the desk")
    server.wait_idle()
    (back,) = [r for r in server.records(3) if r.row["number_to"] == CUSTOMER]
    told = server.run("why", back.call_id, str(server.file))
    assert "lilei took it after" in told, told
