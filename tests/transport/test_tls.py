"""TLS on real loopback connections: what is refused, and why (docs/transports.md)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import shutil
import ssl
import subprocess
import time
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from softswitch.errors import SoftswitchError
from softswitch.sip.flow import Flow
from softswitch.transport.credential import TlsIdentity, ensure_certificate
from softswitch.transport.limits import StreamLimits
from softswitch.transport.tls import TlsTransport
from tests.rows import Row

NAME = "carrier.example"
DAY = datetime.timedelta(days=1)


def message(number: int = 1, body: bytes = b"") -> bytes:
    return (
        b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK%d\r\nFrom: <sip:a>;tag=1\r\n"
        b"To: <sip:b>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: %d\r\n\r\n"
        % (number, number, len(body))
    ) + body


def identity(issued: Any, now_s: Callable[[], float] = time.monotonic, **who: Any) -> TlsIdentity:
    return TlsIdentity(issued.certificate, issued.key, now_s=now_s, **who)


@pytest.fixture
async def open_tls() -> AsyncIterator[Callable[..., TlsTransport]]:
    opened: list[TlsTransport] = []

    def open_(who: TlsIdentity, inbox: Any, **limits: Any) -> TlsTransport:
        settings = StreamLimits(**limits)
        transport = TlsTransport.bind("127.0.0.1", 0, limits=settings, identity=who)
        transport.start(inbox.receive, inbox.unreachable)
        opened.append(transport)
        return transport

    yield open_
    for transport in opened:
        transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class Server:
    """Somebody's TLS server, with settings that no server of ours would have."""

    def __init__(self) -> None:
        self.received = b""
        self.names: list[str | None] = []
        self.address = ("127.0.0.1", 0)

    @contextlib.asynccontextmanager
    async def run(self, context: ssl.SSLContext | None) -> AsyncIterator[Server]:
        if context is not None:
            context.sni_callback = lambda _sock, name, _context: self.names.append(name)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.address = server.sockets[0].getsockname()
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.received += data
                if data.startswith(b"\x16"):
                    writer.write(b"SIP/2.0 400 What?\r\n\r\n")
        writer.close()


def server_context(issued: Any, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(issued.certificate, issued.key)
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
    return context


def _versions() -> dict[str, ssl.TLSVersion]:
    return {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1}


# name -> (what the server's certificate is, the reason that is shown)
REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "expired": (lambda ca: ca("good").issue(NAME, begins=-3 * DAY, ends=-DAY), "has expired"),
    "not yet valid": (
        lambda ca: ca("good").issue(NAME, begins=DAY, ends=2 * DAY),
        "not yet valid",
    ),
    "wrong name": (lambda ca: ca("good").issue("other.example"), "mismatch"),
    "address only": (lambda ca: ca("good").issue("127.0.0.1"), "mismatch"),
    "wildcard of a parent": (lambda ca: ca("good").issue("*.example.carrier.example"), "mismatch"),
    "self-signed": (lambda ca: ca("good").issue(NAME, self_signed=True), "self-signed"),
    "other authority": (lambda ca: ca("other").issue(NAME), "unable to get local issuer"),
    "missing intermediate": (
        lambda ca: ca("between", parent=ca("good")).issue(NAME, chain=False),
        "unable to get local issuer",
    ),
    "for clients only": (
        lambda ca: ca("good").issue(NAME, usage=ExtendedKeyUsageOID.CLIENT_AUTH),
        "purpose",
    ),
    "weak key": (lambda ca: ca("good").issue(NAME, weak=True), "key too weak"),
}


@pytest.fixture
def authorities(authority: Any) -> Callable[..., Any]:
    """Authorities by name, each made once; "good" is the one that is trusted."""
    made: dict[str, Any] = {}

    def get(name: str, parent: Any = None) -> Any:
        if name not in made:
            made[name] = authority(name, parent)
        return made[name]

    return get


async def attempt(
    server: Server, ours: TlsTransport, inbox: Any, until: Any, name: str = NAME
) -> Flow:
    flow = Flow("tls", ours.local, server.address[:2], 0, name)
    ours.send(message(), flow)
    await until(lambda: flow in inbox.gone or b"OPTIONS" in server.received)
    return flow


@pytest.mark.parametrize("case", list(REFUSED))
async def test_a_server_that_cannot_prove_its_name_hears_nothing(
    case: str, authorities: Any, open_tls: Any, inbox: Any, until: Any, row: Row
) -> None:
    make, reason = REFUSED[case]
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example"), trusted=good.file), inbox)
    async with Server().run(server_context(make(authorities))) as server:
        flow = await attempt(server, ours, inbox, until)
        assert server.received == b""
        assert reason in ours.why_unreachable(flow)
        assert ours.counters.handshakes_failed == 1
        assert ours.snapshot()["connections"] == 0
        row(20, f"a server that is {case}", accepted=0, reason=reason)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_servers_of_old_versions_are_refused(
    version: str, authorities: Any, open_tls: Any, inbox: Any, until: Any, row: Row
) -> None:
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example"), trusted=good.file), inbox)
    context = server_context(good.issue(NAME), _versions()[version])
    async with Server().run(context) as server:
        flow = await attempt(server, ours, inbox, until)
        assert server.received == b""
        assert "TLS handshake" in ours.why_unreachable(flow)
        row(20, f"a server of TLS {version}", accepted=0, reason=ours.why_unreachable(flow))


async def test_a_server_that_speaks_plain_text_is_refused(
    authorities: Any, open_tls: Any, inbox: Any, until: Any
) -> None:
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example"), trusted=good.file), inbox)
    async with Server().run(None) as server:
        flow = await attempt(server, ours, inbox, until)
        assert b"OPTIONS" not in server.received
        assert "wrong version number" in ours.why_unreachable(flow)


async def test_a_server_that_never_answers_the_handshake_is_given_up(
    authorities: Any, open_tls: Any, inbox: Any, until: Any
) -> None:
    good = authorities("good")
    who = identity(good.issue("us.example"), trusted=good.file)
    ours = open_tls(who, inbox, connect_s=0.3)

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    flow = Flow("tls", ours.local, server.sockets[0].getsockname()[:2], 0, NAME)
    ours.send(message(), flow)
    await until(lambda: flow in inbox.gone)
    assert ours.why_unreachable(flow) == "too slow"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("hosts", "name"),
    [((NAME,), NAME), (("127.0.0.1",), ""), ((f"*.{NAME}",), f"sip.{NAME}")],
    ids=["name", "address", "wildcard"],
)
async def test_a_server_that_proves_its_name_is_used_and_told_the_name(
    hosts: tuple[str, ...], name: str, authorities: Any, open_tls: Any, inbox: Any, until: Any
) -> None:
    between = authorities("between", parent=authorities("good"))
    ours = open_tls(identity(between.issue("us.example"), trusted=authorities("good").file), inbox)
    async with Server().run(server_context(between.issue(*hosts))) as server:
        await attempt(server, ours, inbox, until, name)
        assert server.received == message()
        assert server.names == [name or None], "the name is sent, addresses never are"
        assert inbox.gone == []
        ours.send(message(2), Flow("tls", ours.local, server.address[:2], 0, name))
        await until(lambda: server.received == message() + message(2))
        assert ours.counters.connected == 1


async def test_one_address_with_two_names_is_two_connections(
    authorities: Any, open_tls: Any, inbox: Any, until: Any
) -> None:
    """A certificate for one carrier proves nothing about another that its DNS leads to."""
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example"), trusted=good.file), inbox)
    async with Server().run(server_context(good.issue(NAME))) as server:
        await attempt(server, ours, inbox, until)
        other = Flow("tls", ours.local, server.address[:2], 0, "other.example")
        ours.send(message(2), other)
        await until(lambda: other in inbox.gone)
        assert server.received == message()


async def test_requests_inside_a_trunks_calls_go_to_who_is_configured_there(
    authorities: Any, open_tls: Any, inbox: Any, until: Any
) -> None:
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example"), trusted=good.file), inbox)
    ours.name_of = {"127.0.0.1": NAME}.get
    async with Server().run(server_context(good.issue(NAME))) as server:
        await attempt(server, ours, inbox, until, "")
        assert server.names == [NAME]


# -- connections to us -----------------------------------------------------------------------------


def client_context(authority: Any, certificate: Any = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate.certificate, certificate.key)
    return context


async def test_messages_answers_and_pings_of_a_phone(
    authorities: Any, open_tls: Any, inbox: Any, until: Any
) -> None:
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example")), inbox)
    reader, writer = await asyncio.open_connection(
        *ours.local, ssl=client_context(good), server_hostname="us.example"
    )
    writer.write(message(1, b"x" * 60_000) + b"\r\n\r\n" + message(2))
    assert await reader.readexactly(2) == b"\r\n"
    await until(lambda: len(inbox.messages) == 2)
    flow = inbox.messages[0][1]
    assert flow.transport == "tls"
    answer = b"y" * 100_000
    ours.send(answer, flow)
    assert await reader.readexactly(len(answer)) == answer
    writer.close()
    await writer.wait_closed()
    await until(lambda: inbox.gone == [flow])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_phones_of_old_versions_are_refused(
    version: str, authorities: Any, open_tls: Any, inbox: Any, row: Row
) -> None:
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example")), inbox)
    context = client_context(good)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = _versions()[version]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*ours.local, ssl=context, server_hostname="us.example")
    assert ours.counters.handshakes_failed == 1
    row(20, f"a telephone of TLS {version}", accepted=0)


@pytest.mark.parametrize("who", ["nobody", "stranger", "ours"])
async def test_where_client_certificates_are_asked_for_only_ours_will_do(
    who: str, authorities: Any, open_tls: Any, inbox: Any, until: Any, row: Row
) -> None:
    good, other = authorities("good"), authorities("other")
    ours = open_tls(identity(good.issue("us.example"), clients=good.file), inbox)
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    shown = {
        "nobody": None,
        "stranger": other.issue("phone.example", usage=usage),
        "ours": good.issue("phone.example", usage=usage),
    }[who]
    context = client_context(good, shown)
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(
            *ours.local, ssl=context, server_hostname="us.example"
        )
        writer.write(message())
        await until(lambda: bool(inbox.messages) or ours.counters.handshakes_failed > 0)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert bool(inbox.messages) == (who == "ours")
    assert ours.counters.handshakes_failed == (who != "ours")
    row(20, f"client certificate of {who}", accepted=len(inbox.messages))


async def test_a_client_that_sends_no_name_gets_our_certificate(
    authorities: Any, open_tls: Any, inbox: Any, row: Row
) -> None:
    """A telephone that is told an address must send none (RFC 6066 3); it is shown whom it has reached."""
    good = authorities("good")
    ours = open_tls(identity(good.issue("127.0.0.1")), inbox)
    _, writer = await asyncio.open_connection(
        *ours.local, ssl=client_context(good), server_hostname="127.0.0.1"
    )
    writer.close()
    await writer.wait_closed()
    row(20, "a telephone without SNI", certificates_of_another_name=0)


async def test_renegotiation_is_refused(
    authorities: Any, open_tls: Any, inbox: Any, row: Row
) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example")), inbox)
    host, port = ours.local
    process = await asyncio.create_subprocess_exec(
        *(program, "s_client", "-connect", f"{host}:{port}", "-tls1_2", "-CAfile", str(good.file)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    while b"Extended master secret" not in await process.stdout.readline():
        pass
    process.stdin.write(b"R\n")
    await process.stdin.drain()
    async with asyncio.timeout(10):
        output = await process.stdout.read()
        await process.wait()
    assert b"no renegotiation" in output.lower()
    row(20, "a telephone that renegotiates", accepted=0, reason="no renegotiation")


@pytest.mark.parametrize("say", [b"", b"\x16\x03\x01\x02", b"OPTIONS sip:x SIP/2.0\r\n"])
async def test_a_handshake_that_is_none_or_stalls_meets_its_deadline(
    say: bytes, authorities: Any, open_tls: Any, inbox: Any, until: Any
) -> None:
    good = authorities("good")
    ours = open_tls(identity(good.issue("us.example")), inbox, message_s=0.2)
    reader, writer = await asyncio.open_connection(*ours.local)
    writer.write(say)
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await until(lambda: ours.snapshot()["connections"] == 0)
    assert ours.counters.late + ours.counters.handshakes_failed == 1


# -- the certificate -------------------------------------------------------------------------------


def test_the_first_start_makes_a_certificate_that_stays(tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    certificate, key = ensure_certificate(directory, ["office.example", "192.0.2.1", "::1"])
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["office.example"]
    assert {str(a) for a in names.get_values_for_type(x509.IPAddress)} == {"192.0.2.1", "::1"}
    assert [file.stat().st_mode & 0o777 for file in (certificate, key)] == [0o600, 0o600]
    assert directory.stat().st_mode & 0o777 == 0o700
    before = certificate.read_bytes()
    assert ensure_certificate(directory, ["else.example"]) == (certificate, key)
    assert certificate.read_bytes() == before


async def test_a_renewed_certificate_is_taken_without_a_restart(
    authorities: Any, open_tls: Any, inbox: Any
) -> None:
    good = authorities("good")
    issued = good.issue("us.example")
    now = [0.0]
    ours = open_tls(identity(issued, lambda: now[0]), inbox)

    async def serial() -> int:
        _, writer = await asyncio.open_connection(
            *ours.local, ssl=client_context(good), server_hostname="us.example"
        )
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return x509.load_der_x509_certificate(shown).serial_number

    first = await serial()
    issued.certificate.write_bytes(b"half a renewal")
    now[0] += 61
    assert await serial() == first, "the old one stays where the new cannot be read"
    renewed = good.issue("us.example")
    issued.certificate.write_bytes(renewed.certificate.read_bytes())
    issued.key.write_bytes(renewed.key.read_bytes())
    now[0] += 61
    assert await serial() != first


@pytest.mark.parametrize("broken", ["missing", "empty", "other key"])
def test_a_certificate_that_cannot_be_used_is_one_line(broken: str, authorities: Any) -> None:
    good = authorities("good")
    issued = good.issue("us.example")
    if broken == "missing":
        issued.certificate.unlink()
    elif broken == "empty":
        issued.certificate.write_bytes(b"")
    else:
        issued.key.write_bytes(good.issue("us.example").key.read_bytes())
    with pytest.raises(SoftswitchError) as caught:
        identity(issued)
    assert str(issued.certificate) in str(caught.value)
    assert "\n" not in str(caught.value)
