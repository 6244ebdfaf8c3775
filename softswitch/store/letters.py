"""E-mail that becomes tickets: what a message (RFC 5322, RFC 2045) says, within limits. Pure.

A message is a stranger's work: heads that are no heads, text in made-up character sets, parts in parts in
parts. Whatever it is, there is a letter or a `ValueError` in words, and nothing of it is executed or
fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import policy
from email.errors import MessageError
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parseaddr
from functools import cache, lru_cache
from typing import Any

from softswitch.store.page_text import words

LETTER_BYTES_MAX = 25 << 20
TEXT_MAX = 20_000
SUBJECT_MAX = 250
PARTS_MAX = 200
PARTS_READ_MAX = 1000
HEAD_MAX = 8000
CONTENT_HEAD_MAX = 1000
"""Characters of one head that are read: the standard library takes 0.06 ms for each of ``Content-Type``."""
SHORT_HEAD = 100
"""Characters of a head that is remembered for other letters too."""
ENCLOSURES_MAX = 20
_NUMBER = re.compile(r"\[#([1-9][0-9]{0,14})\]")
_IDS = re.compile(r"<([^<>\s]{1,250})>")
_ROBOTS = frozenset({"x-autoreply", "x-autorespond", "x-loop", "feedback-id", "mailing-list"})


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A file that came with a letter. `name` and `type` are what its sender says."""

    name: str
    type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """`references` are the ids of the letters it answers, `ticket` the number in its subject (``[#17]``).
    `automatic`: no person wrote it (RFC 3834), so that nothing must be answered; `silent`: it came by a list,
    or its sender wants no answer of a machine. `left_out` counts parts beyond the limits."""

    sender: str
    sender_name: str
    subject: str
    text: str
    message_id: str = ""
    references: tuple[str, ...] = ()
    ticket: int | None = None
    automatic: bool = False
    silent: bool = False
    enclosures: tuple[Enclosure, ...] = ()
    left_out: int = 0


def read_letter(data: bytes) -> Letter:
    """What a message says. Raises `ValueError`, in words, for what is none."""
    if len(data) > LETTER_BYTES_MAX:
        raise ValueError(f"the message is larger than {LETTER_BYTES_MAX} octets")
    try:
        return _letter(BytesParser(_class=_Counted(), policy=_POLICY).parsebytes(data))
    except (MessageError, LookupError, RecursionError, TypeError, AttributeError) as error:
        raise ValueError(f"the message cannot be read: {type(error).__name__}") from None
    finally:
        _long_head.cache_clear()


class _Heads(HeaderRegistry):
    """As the standard library's, which makes a new class for each head it reads."""

    def __getitem__(self, name: str) -> Any:
        return _head_class(self.registry.get(name.lower(), self.default_class), self.base_class)


@cache
def _head_class(of: type, base: type) -> type:
    return type(f"_{of.__name__}", (of, base), {})


_HEADS = _Heads()


def _read_head(name: str, value: str) -> Any:
    if len(value) <= SHORT_HEAD:
        return _short_head(name, value)
    return _long_head(
        name, value[: CONTENT_HEAD_MAX if name.lower().startswith("content-") else HEAD_MAX]
    )


_short_head = lru_cache(256)(_HEADS)
"""What letters have in common: types, encodings, the office's own address."""
_long_head = lru_cache(64)(_HEADS)
"""Of one letter: a head is asked for a dozen times, and would be read each time."""
_POLICY = policy.default.clone(header_factory=_read_head, refold_source="none")


class _Counted:
    """Makes the parts of one letter. Raises `ValueError` for one too many."""

    def __init__(self) -> None:
        self._left = PARTS_READ_MAX

    def __call__(self, policy: Any = None) -> EmailMessage:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"the message has more than {PARTS_READ_MAX} parts")
        return _Part(policy=policy)


class _Part(EmailMessage):
    """Its type, which nothing changes once its heads are there, is asked for a dozen times."""

    _type = ""

    def get_content_type(self) -> str:
        self._type = self._type or super().get_content_type()
        return self._type


def _letter(message: EmailMessage) -> Letter:
    name, address = parseaddr(_head(message, "From"))
    if "@" not in address:
        raise ValueError("the message names no sender")
    subject = one_line(_head(message, "Subject"))[:SUBJECT_MAX]
    number = _NUMBER.search(subject)
    texts: list[str] = []
    enclosures: list[Enclosure] = []
    left_out = 0
    for count, part in enumerate(_leaves(message)):
        if count >= PARTS_MAX:
            left_out += 1
            continue
        if _is_text(part):
            texts.append(_text_of(part))
        elif len(enclosures) < ENCLOSURES_MAX:
            enclosures.append(_enclosure(part, len(enclosures) + 1))
        else:
            left_out += 1
    ids = _IDS.findall(_head(message, "Message-ID"))
    answered = _IDS.findall(f"{_head(message, 'In-Reply-To')} {_head(message, 'References')}")
    return Letter(
        sender=one_line(address)[:254].lower(),
        sender_name=one_line(name)[:128],
        subject=subject,
        text=_tidy("\n".join(texts))[:TEXT_MAX],
        message_id=ids[0] if ids else "",
        references=tuple(dict.fromkeys(answered[:50])),
        ticket=int(number[1]) if number else None,
        automatic=_is_automatic(message),
        silent=_is_silent(message),
        enclosures=tuple(enclosures),
        left_out=left_out,
    )


def _head(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name, ""))
    except Exception:
        # The standard library reads heads when they are asked for, and some of a stranger's break it.
        return ""


def _leaves(message: EmailMessage) -> Iterator[EmailMessage]:
    """The parts that hold something; of alternatives the plainest."""
    kind = message.get_content_type()
    if not message.is_multipart():
        yield message
        return
    parts = [part for part in message.iter_parts() if isinstance(part, EmailMessage)]
    if kind == "message/rfc822":
        yield message
    elif kind == "multipart/alternative":
        plain = [part for part in parts if part.get_content_type() == "text/plain"]
        yield from _leaves((plain or parts)[0]) if parts else ()
    else:
        for part in parts:
            yield from _leaves(part)


def _is_text(part: EmailMessage) -> bool:
    return (
        part.get_content_type() in ("text/plain", "text/html")
        and part.get_content_disposition() != "attachment"
    )


def _text_of(part: EmailMessage) -> str:
    text = _decoded(part)
    if part.get_content_type() == "text/html":
        text = words(text[: 10 * TEXT_MAX])
    return text[: 2 * TEXT_MAX]


def _decoded(part: EmailMessage) -> str:
    data = _octets(part)
    charset = str(part.get_param("charset", "utf-8"))
    try:
        return data.decode(charset, "replace")
    except (LookupError, ValueError):
        return data.decode("utf-8", "replace")


def _octets(part: EmailMessage) -> bytes:
    try:
        found: Any = part.get_payload(decode=True)
    except (ValueError, AssertionError):
        found = None
    return found if isinstance(found, bytes) else b""


def _enclosure(part: EmailMessage, number: int) -> Enclosure:
    kind = part.get_content_type()
    if part.is_multipart():  # a message in the message
        try:
            data = part.as_bytes()
        except Exception:
            data = b""
        return Enclosure(f"message-{number}.eml", "message/rfc822", data)
    try:
        name = part.get_filename() or ""
    except Exception:
        name = ""
    return Enclosure(one_line(name)[:200] or f"file-{number}", kind, _octets(part))


def _is_automatic(message: EmailMessage) -> bool:
    submitted = _head(message, "Auto-Submitted").strip().lower()
    if submitted and submitted != "no":
        return True
    if _head(message, "Precedence").strip().lower() in ("bulk", "junk", "list", "auto_reply"):
        return True
    return bool(_head(message, "List-Id")) or _head(message, "Return-Path").strip() == "<>"


def _is_silent(message: EmailMessage) -> bool:
    names = {name.lower() for name, _ in message.raw_items()}
    if any(name.startswith("list-") or name in _ROBOTS for name in names):
        return True
    wishes = _head(message, "X-Auto-Response-Suppress").lower().replace(",", " ").split()
    return bool({"all", "autoreply"} & set(wishes))


def one_line(text: str) -> str:
    """A text without what does not belong into a line."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def _tidy(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = "\n".join(
        line if line.isprintable() else "".join(c for c in line if c == "\t" or c.isprintable())
        for line in text.split("\n")
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip()
