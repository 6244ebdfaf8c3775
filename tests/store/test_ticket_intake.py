"""Tickets at their beginning and while time passes: letters, triggers, steps. No database."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softswitch.store import ticket_rules as rules
from softswitch.store.letters import ENCLOSURES_MAX, LETTER_BYTES_MAX, TEXT_MAX, read_letter
from softswitch.store.sla import OpenTime
from softswitch.store.ticket_steps import DEFAULT_STEPS, Step, next_step
from softswitch.store.ticket_triage import Facts, Trigger, triage

SHANGHAI = ZoneInfo("Asia/Shanghai")
OFFICE = OpenTime(SHANGHAI, lambda day: ((540, 1_020),) if day.weekday() < 5 else ())


def at(text: str) -> float:
    return datetime.fromisoformat(f"{text}+08:00").timestamp()


# -- letters --------------------------------------------------------------------------------------------


def letter(**heads: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = heads.pop("sender", "Wang Wei <Wang@Example.com>")
    message["Subject"] = heads.pop("subject", "No dial tone")
    for name, value in heads.items():
        message[name.replace("_", "-")] = value
    return message


def test_what_a_letter_says() -> None:
    message = letter(
        subject="Re: [#17] 没有声音",
        Message_ID="<2@example.com>",
        In_Reply_To="<1@pbx.example>",
        References="<0@pbx.example> <1@pbx.example>",
    )
    message.set_content("Still broken.\r\n\r\n\r\n\r\nWang")
    message.add_alternative("<p>Still <b>broken</b>.</p>", subtype="html")
    message.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="log.pdf")
    found = read_letter(message.as_bytes())
    assert (found.sender, found.sender_name) == ("wang@example.com", "Wang Wei")
    assert (found.subject, found.ticket) == ("Re: [#17] 没有声音", 17)
    assert found.text == "Still broken.\n\nWang"
    assert found.message_id == "2@example.com"
    assert found.references == ("1@pbx.example", "0@pbx.example")
    assert [(e.name, e.type, e.data) for e in found.enclosures] == [
        ("log.pdf", "application/pdf", b"%PDF-1.7")
    ]
    assert not found.automatic


def test_a_letter_of_html_only_is_read_as_text() -> None:
    message = letter()
    page = "<html><head><title>x</title><style>p{}</style></head><script>alert(1)</script>"
    message.set_content(f"{page}<p>One&nbsp;&amp; two</p><div>three</div>", subtype="html")
    assert read_letter(message.as_bytes()).text.split("\n") == ["One & two ", "three"]


@pytest.mark.parametrize(
    "heads",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Precedence": "bulk"},
        {"List_Id": "<news.example.com>"},
        {"Return_Path": "<>"},
    ],
)
def test_what_no_person_wrote_is_known(heads: dict[str, str]) -> None:
    assert read_letter(letter(**heads).as_bytes()).automatic


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no sender"),
        (b"Subject: x\r\n\r\ntext", "no sender"),
        (b"From: nobody\r\n\r\ntext", "no sender"),
        (b"x" * (LETTER_BYTES_MAX + 1), "larger"),
    ],
)
def test_what_is_no_letter_is_said(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_letter(data)


def test_letters_are_bounded() -> None:
    message = letter(subject="s" * 900)
    message.set_content("x" * (3 * TEXT_MAX))
    for _ in range(ENCLOSURES_MAX + 3):
        message.add_attachment(b"x", maintype="image", subtype="png", filename="a.png")
    found = read_letter(message.as_bytes())
    assert len(found.text) == TEXT_MAX
    assert len(found.enclosures) == ENCLOSURES_MAX
    assert found.left_out == 3
    deep = b"From: a@b\r\n" + b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n)
        for n in range(1_500)
    )
    with pytest.raises(ValueError, match="cannot be read"):
        read_letter(deep)


NASTY = [
    b"From: =?utf-8?q?=00?= <a@b>\r\nSubject: =?x?b?!!?=\r\n\r\n",
    b"From: a@b\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff\xfe",
    b"From: a@b\r\nContent-Type: text/plain; charset*=utf-8''x%FF\r\n\r\nx",
    b"From: a@b\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!",
    b'From: a@b\r\nContent-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n',
    b"From: a@b\r\nMessage-ID: <\xe9>\r\nReferences: <<<>>>\r\n\r\nx",
    b"From: a@b\r\nContent-Disposition: attachment; filename*0*=x''%ZZ\r\n\r\nx",
    b"From: a@[b\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@d\r\n\r\nx",
]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_a_letter_or_refused_in_words(data: st.DataObject) -> None:
    start = data.draw(st.sampled_from(NASTY))
    place = data.draw(st.integers(0, len(start)))
    octets = start[:place] + data.draw(st.binary(max_size=20)) + start[place:]
    try:
        found = read_letter(octets)
    except ValueError:
        return
    found.text.encode()
    found.subject.encode()
    assert "\n" not in found.subject
    assert "\0" not in found.text + found.subject + found.sender


# -- where a ticket belongs ---------------------------------------------------------------------------


def test_the_first_trigger_that_says_something_decides() -> None:
    triggers = [
        Trigger("off", ("refund",), queue="nobody", enabled=False),
        Trigger("money", ("refund", "发票"), queue="billing", tags=("money",)),
        Trigger("vip", customer_tags=("vip",), priority="high", queue="vip", tags=("vip",)),
        Trigger("mail", sources=("email",), department="post"),
    ]
    facts = Facts(("I want a REFUND now",), "email", "request", frozenset({"vip"}))
    found = triage(triggers, facts)
    assert (found.queue, found.priority, found.department) == ("billing", "high", "post")
    assert (found.tags, found.because) == (["money", "vip"], ["money", "vip", "mail"])
    assert triage(triggers, Facts(("refunds",))).because == [], "whole words"
    assert triage(triggers, Facts(("请开发票",))).queue == "billing"
    assert triage([Trigger("empty", ("!!!",), queue="x")], Facts(("anything",))).queue == ""


# -- while time passes ----------------------------------------------------------------------------------


def test_steps_come_in_order_and_count_open_time_only() -> None:
    life = rules.begin(
        "normal", at("2026-09-25T16:00")
    )  # a Friday, an hour before the office closes
    taken: list[str] = []
    found = []
    while (due := next_step(life, DEFAULT_STEPS, taken, OFFICE)) is not None:
        found.append((due[1].key, due[0]))
        taken.append(due[1].key)
    assert found == [
        ("answer:80", at("2026-09-28T14:24")),
        ("answer:100", at("2026-09-28T16:00")),
        ("solve:80", at("2026-09-30T11:12")),
        ("solve:100", at("2026-09-30T16:00")),
    ]
    answered = rules.answer(life, at("2026-09-28T10:00"))
    due = next_step(answered, DEFAULT_STEPS, (), OFFICE)
    assert due is not None
    assert due[1].key == "solve:80", "what is kept needs no reminder"
    waiting = rules.to_status(answered, "pending", at("2026-09-28T11:00"), OFFICE)
    assert next_step(waiting, DEFAULT_STEPS, (), OFFICE) is None, "the customer's turn"


def test_a_higher_priority_brings_the_next_step_nearer() -> None:
    step = Step("solve", 100, priority="urgent")
    life = rules.begin("low", at("2026-09-28T09:00"))
    before = next_step(life, [step], (), OFFICE)
    after = next_step(rules.to_priority(life, "urgent"), [step], (), OFFICE)
    assert before is not None
    assert after is not None
    assert after[0] < before[0]
