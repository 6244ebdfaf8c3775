"""A telephone in a browser, over WebSocket (RFC 7118): Chromium and JsSIP register, are called and call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.peers.baresip import Baresip
from tests.interop.peers.browser import Browser
from tests.interop.peers.ports import HOST, free_port
from tests.interop.peers.process import wait_until
from tests.interop.peers.server import Server, password_of

Serve = Callable[..., Server]
Phone = Callable[..., Baresip]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    started: list[Browser] = []

    def start(number: str, **options: Any) -> Browser:
        page = Browser(
            tmp_path / f"browser-{number}",
            number=number,
            password=options.pop("password", password_of(number)),
            domain="interop.example",
            **options,
        )
        started.append(page)
        return page

    yield start
    for page in started:
        page.close()


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_a_browser_registers_is_called_and_calls(
    serve: Serve, browser: Callable[..., Browser], baresip: Phone, transport: str
) -> None:
    """Signalling through JsSIP in Chromium, with descriptions of plain RTP in the place of WebRTC's; for
    wss:// with the certificate that the switch has made, and no other. WebRTC's own media is refused."""
    port = free_port()
    server = serve(listen_more=(f"{transport}://{HOST}:{port}",))
    secure = {"certificate": server.certificate()} if transport == "wss" else {}
    page = browser("1001", ws=f"{transport}://{HOST}:{port}", **secure)
    other = baresip(server, "1002", plays="callee", answer="manual")
    page.do("webrtc", False)
    page.do("start")
    page.wait("registered")
    rows = {row["extension"]: row for row in server.status()["registrations"]}
    assert rows["1001"]["transport"] == transport
    assert rows["1001"]["user_agent"].startswith("JsSIP")

    other.dial("1001")
    assert page.wait("incoming")["from"] == "1002"
    other.wait_event("CALL_RINGING")
    page.do("answer")
    other.wait_event("CALL_ESTABLISHED")
    page.wait("confirmed")
    other.hang_up()
    assert page.wait("ended")["by"] == "remote"

    since, there = page.mark(), other.mark()
    page.do("call", "1002")
    other.wait_event("CALL_INCOMING", since=there)
    page.wait("ringing", since=since)
    other.accept()
    page.wait("confirmed", since=since)
    page.do("hang_up")
    other.wait_event("CALL_CLOSED", since=there)
    server.wait_idle()
    assert [record.status for record in server.records(2)] == ["answered", "answered"]

    if transport == "ws":
        webrtc_media_is_refused_in_words(page, other)
        server.wait_idle()
    page.do("leave")
    wait_until(lambda: server.registrations() == 1, "the browser's binding to go")


def webrtc_media_is_refused_in_words(page: Browser, other: Baresip) -> None:
    """A browser wants DTLS-SRTP. Its offer is refused before anybody is rung, with what would be taken; it
    refuses ours, and the caller is told so."""
    page.do("webrtc", True)
    since, there = page.mark(), other.mark()
    page.do("call", "1002")
    failed = page.wait("failed", since=since)
    assert (failed["by"], failed["status"]) == ("remote", 488)
    assert failed["warning"].startswith("302 ")
    assert "DTLS-SRTP is not supported" in failed["warning"]
    assert not other.has_event("CALL_INCOMING", since=there)

    other.dial("1001")
    page.wait("incoming", since=since)
    page.do("answer")
    assert "488" in other.wait_event("CALL_CLOSED", since=there)["param"]
