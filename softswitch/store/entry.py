"""One entry of the journal and the line of text that carries it."""

from __future__ import annotations

import json
import logging
import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

ENTRY_BYTES_MAX = 64 * 1024
TEXT_MAX = 256
_CRC_CHARACTERS = 9  # eight hexadecimal digits and a space
_encoder = msgspec.json.Encoder(enc_hook=str)
_encode = _encoder.encode
_decode = msgspec.json.Decoder().decode
_decode_line = msgspec.json.Decoder(tuple[int, float, str, str | None, dict[str, Any]]).decode
_log = logging.getLogger("softswitch.store")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What happened: `seq` orders and identifies it (one writer, no number used twice), `at_s` is wall
    time in seconds since the epoch, `call_id` None where no call is concerned, `text` the JSON
    object of its particulars."""

    seq: int
    at_s: float
    kind: str
    call_id: str | None
    text: str

    def data(self) -> dict[str, Any]:
        """The particulars, read from `text` so that now and after a restart are the same. Of a text that is
        damaged there are none: one entry must not hold up the journal, nor a story, nor a list."""
        try:
            found = _decode(self.text)
        except (ValueError, TypeError, RecursionError) as error:
            _log.error("entry %d of the journal cannot be read: %s", self.seq, error)
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def is_readable(self) -> bool:
        """Whether `text` is the JSON object that was written."""
        try:
            return isinstance(_decode(self.text), dict)
        except (ValueError, TypeError, RecursionError):
            return False

    def line(self) -> bytes:
        """The line of the log: CRC-32 of what follows, then a JSON array."""
        (body,) = arrays_of([self])
        return b"%08x %b\n" % (zlib.crc32(body), body)


def arrays_of(entries: Iterable[Entry]) -> list[bytes]:
    """Entries as JSON arrays: number, time, kind, call, particulars."""
    rows = [(e.seq, e.at_s, e.kind, e.call_id, msgspec.Raw(e.text)) for e in entries]
    return [*map(_encode, rows)]


def lines_of(bodies: Sequence[bytes]) -> bytes:
    """The lines of the log of some `arrays_of` entries: many are made together in half the time."""
    count = len(bodies)
    sums = struct.pack(f">{count}I", *map(zlib.crc32, bodies)).hex(" ", 4).encode()
    parts = [b"", b" ", b"", b"\n"] * count
    parts[::4] = sums.split()
    parts[2::4] = bodies
    return b"".join(parts)


_clean_kinds: dict[str, str] = {}
_clean_ids: set[str | None] = {None}
_REMEMBERED_MAX = 1_024


def make_entry(
    seq: int, at_s: float, kind: str, call_id: str | None, data: dict[str, Any]
) -> Entry:
    """An entry that any database takes. Never fails: what JSON cannot say is written as text, and
    particulars beyond `ENTRY_BYTES_MAX` are left out, with a note."""
    try:
        text = _encode(data)
    except Exception:
        # Octets of the wire that are no UTF-8 (lone surrogates), keys that are no text, cycles.
        text = _encode_anything(data)
    if len(text) > ENTRY_BYTES_MAX:
        text = b'{"truncated_bytes":%d}' % len(text)
    if at_s - at_s != 0.0:  # infinite, or no number
        at_s = 0.0
    if call_id not in _clean_ids:  # one call has a dozen entries
        call_id = _clean_id(call_id or "")
    known = _clean_kinds.get(kind)
    return Entry(seq, at_s + 0.0, known or _clean_kind(kind), call_id, text.decode())


def _clean_id(call_id: str) -> str:
    if not (call_id.isascii() and call_id.isprintable()):
        call_id = clean(call_id)
    call_id = call_id[:TEXT_MAX]
    if len(_clean_ids) > _REMEMBERED_MAX:
        _clean_ids.clear()
        _clean_ids.add(None)
    _clean_ids.add(call_id)
    return call_id


def _clean_kind(kind: str) -> str:
    found = clean(kind)[:64]
    if len(_clean_kinds) < _REMEMBERED_MAX:
        _clean_kinds[kind] = found
    return found


def _encode_anything(data: dict[str, Any]) -> bytes:
    try:
        return json.dumps({clean(str(k)): _plain(v) for k, v in data.items()}).encode()
    except Exception as error:
        return json.dumps({"unwritable": clean(repr(error))[:256]}).encode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return clean(value if isinstance(value, str) else repr(value)[:4096])


def clean(text: str) -> str:
    """`text` as a database takes it: lone surrogates written out, NUL replaced."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\ufffd")


def read_line(line: bytes) -> Entry | None:
    """The entry of a line (without its line end); None if the line is torn or damaged."""
    body = line[_CRC_CHARACTERS:]
    try:
        if line[:_CRC_CHARACTERS] != b"%08x " % zlib.crc32(body):
            return None
        seq, at_s, kind, call_id, data = _decode_line(body)
        return Entry(seq, at_s, kind, call_id, _encoder.encode(data).decode())
    except (ValueError, TypeError, RecursionError):
        return None


def text_of(value: object) -> str:
    """A particular as a text of a record: at most `TEXT_MAX` characters, "" for none."""
    if type(value) is str and len(value) <= TEXT_MAX and value.isascii() and "\0" not in value:
        return value  # as nearly all are; every call has some fifty
    if type(value) is int:
        return str(value)
    return clean(str(value))[:TEXT_MAX] if value is not None else ""


def integer_of(value: object) -> int | None:
    """A particular as a whole number of 32 bits; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 1 << 31 else None


def number_of(value: object) -> float | None:
    """A particular as a number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None
