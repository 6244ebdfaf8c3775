"""Messages by e-mail: what is in them, that a failing server costs nothing but time, SMTP itself."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from softswitch.apps.mailer import RETRY_S, WAITING_MAX, Mailer, smtp
from softswitch.config import Mail, parse_office
from softswitch.config.values import HostPort
from softswitch.errors import MailError
from softswitch.sim.loop import simulated
from softswitch.sim.world import World, small_office
from softswitch.transport.credential import self_signed

BOXES = """
[[extension]]
number = "2001"
password = "secret-2001"
voicemail = { pin = "4711", email = "lilei@office.example" }
forward = { always = "voicemail" }

[[extension]]
number = "2002"
password = "secret-2002"
voicemail = { pin = "4712" }
forward = { always = "voicemail" }
"""


async def leave_message(world, number="2001"):
    caller = world.phones.get("1001") or await world.phone("1001", display_name="Eve\u2028Adams")
    call = await caller.call(number)
    await call.answered()
    await asyncio.sleep(8)
    call.hang_up()
    await call.ended()
    await asyncio.sleep(1)


def office():
    return small_office(extensions=1, more=BOXES)


@simulated()
async def test_a_message_goes_to_the_address_of_its_box_and_only_there():
    async with World(1, office=office()) as world:
        await leave_message(world, "2001")
        await leave_message(world, "2002")
        (mail,) = world.environment.mails
        assert mail["To"] == "lilei@office.example"
        assert mail["From"] == "softswitch@office.example"
        assert mail["Subject"] == "Message from Eve Adams <1001>"
        assert "left a message of 4 seconds" in mail.get_body().get_content()
        (sound,) = mail.iter_attachments()
        (message,) = world.switch.catalogue.mailboxes.messages("2001")
        assert message.mailed
        assert not message.heard
        path = world.switch.catalogue.mailboxes.path_of(message)
        assert sound.get_content() == path.read_bytes()
        assert sound.get_filename() == path.name
        await world.settle()


@simulated()
async def test_a_server_that_fails_is_asked_again_and_then_no_more():
    async with World(2, office=office()) as world:
        world.environment.mail_fails = "try later"
        await leave_message(world)
        await asyncio.sleep(RETRY_S[0])
        assert world.environment.mails == []
        world.environment.mail_fails = ""
        await asyncio.sleep(RETRY_S[1])
        assert len(world.environment.mails) == 1
        world.environment.mail_fails = "never"
        await leave_message(world)
        await asyncio.sleep(sum(RETRY_S) + 1)
        (entry,) = world.journal.of_kind("mail-failed")
        assert entry.data["why"] == "never"
        assert world.switch.catalogue.mailer.snapshot() == {"waiting": 0, "sent": 1, "failed": 1}
        assert world.switch.catalogue.mailboxes.counts("2001") == (2, 0)
        await world.settle()


@simulated()
async def test_what_a_restart_left_unsent_is_sent_after_it():
    async with World(3, office=office()) as world:
        world.environment.mail_fails = "down"
        await leave_message(world)
        desk, mailboxes = world.switch.catalogue._desk, world.switch.catalogue.mailboxes
        await world.switch.catalogue.mailer.stop()
        world.environment.mail_fails = ""
        again = Mailer(desk, mailboxes)
        again.start()
        await asyncio.sleep(1)
        assert len(world.environment.mails) == 1
        third = Mailer(desk, mailboxes)
        third.start()
        await asyncio.sleep(1)
        assert len(world.environment.mails) == 1, "not twice"
        await world.settle()


@simulated()
@pytest.mark.limit("mails that wait")
async def test_as_many_wait_as_may_and_not_one_more():
    async with World(4, office=office()) as world:
        world.environment.mail_fails = "down"
        await leave_message(world)
        (message,) = world.switch.catalogue.mailboxes.messages("2001")
        mailer = world.switch.catalogue.mailer
        for _ in range(WAITING_MAX - 1):
            mailer.take(message)
        assert mailer.snapshot() == {"waiting": WAITING_MAX, "sent": 0, "failed": 0}
        mailer.take(message)
        assert mailer.snapshot() == {"waiting": WAITING_MAX, "sent": 0, "failed": 1}
        await world.settle()


# -- SMTP -------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def mail_server(refuses=b"", tls=None, starttls=None):
    """Takes one mail after the other (RFC 5321), or refuses recipients with `refuses`."""
    taken, serving = [], []

    async def serve(reader, writer):
        serving.append(asyncio.current_task())
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                taken.append(message_from_bytes(data[:-5], policy=policy.default))
                writer.write(b"250 taken\r\n")
            elif verb == b"EHLO" and starttls is not None:
                writer.write(b"250-test\r\n250 STARTTLS\r\n")
            elif verb == b"STAR":
                writer.write(b"220 begin\r\n")
                await writer.drain()
                try:
                    await writer.start_tls(starttls)
                except OSError:  # he did not trust us
                    break
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            elif verb == b"RCPT" and refuses:
                writer.write(refuses)
            else:
                writer.write(b"250 fine\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 24, ssl=tls)
    try:
        yield HostPort("127.0.0.1", server.sockets[0].getsockname()[1]), taken
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*serving, return_exceptions=True)


@simulated()
async def a_mail():
    async with World(5, office=office()) as world:
        await leave_message(world)
        return world.environment.mails[0]


def test_smtp():
    mail = a_mail()

    async def exchange():
        async with mail_server() as (server, taken):
            await smtp(Mail(server=server))(mail)
            assert taken[0]["Subject"] == mail["Subject"]
            (sound,) = taken[0].iter_attachments()
            assert sound.get_content() == next(mail.iter_attachments()).get_content()
        async with mail_server(refuses=b"550 unknown\r\n") as (server, taken):
            with pytest.raises(MailError, match="550") as refused:
                await smtp(Mail(server=server))(mail)
            assert refused.value.final
            assert taken == []
        async with mail_server(refuses=b"451 later\r\n") as (server, _):
            with pytest.raises(MailError, match="451") as refused:
                await smtp(Mail(server=server))(mail)
            assert not refused.value.final
        with pytest.raises(MailError) as refused:
            await smtp(Mail(server=HostPort("127.0.0.1", 1)))(mail)
        assert not refused.value.final

    asyncio.run(exchange())


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_mail_server_is_told_nothing_before_its_certificate_is_verified(tmp_path, security):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@b.example", "c@d.example", "s"
    mail.set_content("text")
    paths = {}
    for host in ("127.0.0.1", "127.0.0.2"):
        pem, key = self_signed([host])
        paths[host] = tmp_path / f"{host}.pem"
        paths[host].write_bytes(pem)
        (tmp_path / f"{host}.key").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(paths["127.0.0.1"], tmp_path / "127.0.0.1.key")

    async def exchange():
        async with mail_server(**{security: context}) as (server, taken):
            config = Mail(server=server, security=security)
            await smtp(config, paths["127.0.0.1"])(mail)
            assert [one["Subject"] for one in taken] == ["s"]
            for trusted in (None, paths["127.0.0.2"]):
                with pytest.raises(MailError, match=r"(?i)certificate"):
                    await smtp(config, trusted)(mail)
            assert len(taken) == 1
        async with mail_server() as (server, taken):
            with pytest.raises(MailError):
                await smtp(Mail(server=server, security=security))(mail)
            assert taken == []

    asyncio.run(exchange())


def test_the_section_of_the_office_file():
    assert parse_office("").mail.server == ("127.0.0.1", 25)
    text = (
        '[mail]\nserver = "mail.example:587"\nsecurity = "starttls"\nfrom = "pbx@office.example"\n'
    )
    mail = parse_office(text).mail
    assert (mail.server.host, mail.security, mail.sender) == (
        "mail.example",
        "starttls",
        "pbx@office.example",
    )
