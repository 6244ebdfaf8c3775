"""Who is told what goes on: message waiting (RFC 3842), busy lamps (RFC 4235) and presence (RFC 3856),
to phones of the office that subscribe; PUBLISH (RFC 3903) of an extension's own presence."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from softswitch.call.identity import PhoneIdentity
from softswitch.config.derived import FromOffice, extensions_by_number
from softswitch.errors import RemoteProtocolError
from softswitch.sip.events import RequestReceived, SubscriptionEnded
from softswitch.sip.subscription import EventId
from softswitch.sip.validation import accepts

if TYPE_CHECKING:
    from softswitch.apps.mailbox import Mailboxes
    from softswitch.call.call import Call
    from softswitch.call.leg import Leg
    from softswitch.call.line import Lines
    from softswitch.call.wiring import Wiring
    from softswitch.sip.message import SipRequest

MESSAGES, DIALOG, PRESENCE = "message-summary", "dialog", "presence"
_TYPES = {
    MESSAGES: "application/simple-message-summary",
    DIALOG: "application/dialog-info+xml",
    PRESENCE: "application/pidf+xml",
}
WATCHES_MAX = 256  # three key modules of sixty lamps, and a second telephone
"""Subscriptions that one extension may hold."""

_BACK_S = 5
_PUBLISHED_MAX_S = 3600
_NOTE_MAX = 128
_EXTENSION = "extension:"
PACKAGES = tuple(_TYPES)
# No XML parser is given what a phone sends (entities grow): two elements are all that is wanted.
_BASIC = re.compile(rb"<(?:[a-z]{1,16}:)?basic>\s{0,16}(open|closed)\s{0,16}<")
_NOTE = re.compile(rb"<(?:[a-z]{1,16}:)?note(?: [^>]{0,64})?>([^<]{0,512})<")


def read_presence(body: bytes) -> tuple[bool, str]:
    """Whether a presence document (RFC 3863) says "open", and its note, without what XML cannot hold when it is
    told on."""
    basic, note = _BASIC.search(body), _NOTE.search(body)
    text = note.group(1).decode("utf-8", "replace") if note else ""
    return basic is None or basic.group(1) == b"open", "".join(c for c in text if c.isprintable())[
        :_NOTE_MAX
    ]


def _device_of(request: SipRequest) -> str:
    """What tells one telephone from another: its instance (RFC 5626 4.1), else the address that it names."""
    try:
        contact = request.contacts[0]
    except (RemoteProtocolError, IndexError):
        return ""
    return contact.param("+sip.instance") or contact.uri_text


@dataclass(slots=True)
class _Watch:
    """One subscription: `device` is the telephone that holds it, `told` what was last said, `version` counts
    the documents of a busy lamp, and `dialogs` are those it named, each as it is named once more when it is
    over."""

    package: str
    target: str
    watcher: str
    device: str = ""
    told: str = ""
    version: int = 0
    dialogs: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Published:
    """What an extension says of itself."""

    etag: str
    is_open: bool
    note: str
    expires_at_s: float
    timer: asyncio.TimerHandle | None = None


class Presence:
    """Answers SUBSCRIBE and PUBLISH of the office's phones, and notifies.

    Parameters: `calls` gives the calls that live now, `reachable` whether an extension is registered.
    A change marks an extension; what it means is worked out once the event that brought it is over.
    """

    def __init__(
        self,
        wiring: Wiring,
        mailboxes: Mailboxes,
        *,
        calls: Callable[[], list[Call]],
        reachable: Callable[[str], bool],
        lines: Lines,
    ) -> None:
        self._wiring = wiring
        self._mailboxes = mailboxes
        self._calls = calls
        self._reachable = reachable
        self._lines = lines
        lines.listen(self.changed)
        self._extensions = FromOffice(wiring, extensions_by_number)
        self._watches: dict[int, _Watch] = {}
        self._watched: dict[tuple[str, str], set[int]] = {}
        self._held: Counter[str] = Counter()
        self._published: dict[str, _Published] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._flush: asyncio.Handle | None = None

    def snapshot(self) -> dict[str, int]:
        return {"watches": len(self._watches), "published": len(self._published)}

    # -- SUBSCRIBE -------------------------------------------------------------------------------

    def subscribe(self, event: RequestReceived, now_s: float) -> None:
        """One authenticated SUBSCRIBE outside any dialog."""
        refusal = self._refusal(event)
        if refusal is not None:
            stack = self._wiring.stack
            headers = stack.allowed_events if refusal == 489 else ()
            stack.respond(event.handle, refusal, headers=headers, now_s=now_s)
            return
        package, target = self._wanted(event)
        assert isinstance(event.identity, PhoneIdentity)
        watch = _Watch(package, target, event.identity.extension, _device_of(event.request))
        body = self._state(watch)
        assert body is not None
        stack = self._wiring.stack
        number = stack.subscriptions.accept(event.handle, body, _TYPES[package], now_s=now_s)
        if number is not None:
            self._watches[number] = watch
            self._watched.setdefault((package, target), set()).add(number)
            self._held[watch.watcher] += 1

    def ended(self, event: SubscriptionEnded) -> None:
        """Nobody listens under this number any more."""
        watch = self._watches.pop(event.subscription, None)
        if watch is None:
            return
        key = (watch.package, watch.target)
        self._watched[key].discard(event.subscription)
        if not self._watched[key]:
            del self._watched[key]
        self._held[watch.watcher] -= 1
        if not self._held[watch.watcher]:
            del self._held[watch.watcher]

    def _wanted(self, event: RequestReceived) -> tuple[str, str]:
        found = EventId.of(event.request)
        assert found is not None
        target = event.request.called
        if found.package == MESSAGES and isinstance(event.identity, PhoneIdentity):
            target = event.identity.extension  # phones name their own number, or the voicemail code
        return found.package, target

    def _refusal(self, event: RequestReceived) -> int | None:
        request, identity = event.request, event.identity
        if not isinstance(identity, PhoneIdentity) or event.session is not None:
            return 403  # for phones of the office, and not in a call's dialog (RFC 6665 4.5.2)
        found = EventId.of(request)
        if found is None or found.package not in _TYPES:
            return 489
        try:
            package, target = self._wanted(event)
        except RemoteProtocolError as error:
            return error.status_hint or 400
        extension = self._extensions().get(target)
        if extension is None or (package == MESSAGES and extension.voicemail is None):
            return 404
        if "Accept" in request.headers and not accepts(request, _TYPES[package]):
            return 406
        full = self._held[identity.extension] >= WATCHES_MAX
        device = _device_of(request)
        return 403 if full and not self._gives_way((package, target), device) else None

    def _gives_way(self, key: tuple[str, str], device: str) -> bool:
        """End the oldest subscription of this telephone to the same: it has been started anew, and knows it no
        more."""
        for number in sorted(self._watched.get(key, ())):
            if device and self._watches[number].device == device:
                self.ended(SubscriptionEnded(number, "deactivated"))
                self._wiring.stack.subscriptions.end(
                    number, "deactivated", now_s=self._wiring.now_s()
                )
                return True
        return False

    # -- PUBLISH ---------------------------------------------------------------------------------

    def publish(self, event: RequestReceived, now_s: float) -> None:
        """One authenticated PUBLISH: an extension says how it is reached."""
        status, headers = self._publish(event, now_s)
        self._wiring.stack.respond(event.handle, status, headers=headers, now_s=now_s)

    def _publish(
        self, event: RequestReceived, now_s: float
    ) -> tuple[int, tuple[tuple[str, str], ...]]:
        request, identity = event.request, event.identity
        found = EventId.of(request)
        if found is None or found.package != PRESENCE:
            return 489, (("Allow-Events", PRESENCE),)
        try:
            target = request.called
        except RemoteProtocolError as error:
            return error.status_hint or 400, ()
        if not isinstance(identity, PhoneIdentity) or target != identity.extension:
            return 403, ()
        known = self._published.get(target)
        if known is not None and known.expires_at_s <= now_s:
            known = None
        asked = request.headers.get("SIP-If-Match")
        if asked is not None and (known is None or asked != known.etag):
            return 412, ()
        expires_s = min(
            _PUBLISHED_MAX_S if request.expires is None else request.expires, _PUBLISHED_MAX_S
        )
        if known is not None and known.timer is not None:
            known.timer.cancel()
        if expires_s == 0:
            self._published.pop(target, None)
            self.changed(target)
            return 200, (("Expires", "0"),)
        if request.body:
            if (request.headers.get("Content-Encoding") or "identity").lower() != "identity":
                return 415, (("Accept-Encoding", "identity"),)
            if request.content_type != _TYPES[PRESENCE]:
                return 415, (("Accept", _TYPES[PRESENCE]),)
            is_open, text = read_presence(request.body)
        elif known is not None:
            is_open, text = known.is_open, known.note
        else:
            return 400, ()  # nothing to refresh, and nothing new (RFC 3903 6)
        etag = self._wiring.token()
        timer = asyncio.get_running_loop().call_later(expires_s, self._expire, target, etag)
        self._published[target] = _Published(etag, is_open, text, now_s + expires_s, timer)
        self.changed(target)
        return 200, (("SIP-ETag", etag), ("Expires", str(expires_s)))

    def _expire(self, extension: str, etag: str) -> None:
        known = self._published.get(extension)
        if known is not None and known.etag == etag:
            del self._published[extension]
            self.changed(extension)

    # -- changes ---------------------------------------------------------------------------------

    def leg_changed(self, leg: Leg) -> None:
        """A telephone's leg began, rings, was answered or is over."""
        self.changed(leg.label.removeprefix(_EXTENSION))

    def registration_changed(self, extension: str, _reachable: bool) -> None:
        """The registrar's news."""
        self._mark(PRESENCE, extension)

    def mailbox_changed(self, box: str) -> None:
        """Messages have come, been heard or deleted."""
        self._mark(MESSAGES, box)

    def changed(self, extension: str) -> None:
        """Something of this extension's calls or of what it publishes."""
        self._mark(DIALOG, extension)
        self._mark(PRESENCE, extension)

    def _mark(self, package: str, target: str) -> None:
        if (package, target) not in self._watched:
            return
        self._dirty.add((package, target))
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._flush = None
        dirty, self._dirty = sorted(self._dirty), set()
        now_s = self._wiring.now_s()
        for key in dirty:
            for number in sorted(self._watched.get(key, ())):
                watch = self._watches[number]
                body = self._state(watch)
                if body is not None:
                    self._wiring.stack.subscriptions.notify(
                        number, body, _TYPES[watch.package], now_s=now_s
                    )
        self._wiring.pump()

    def close(self) -> None:
        """Stop telling, and say so: telephones ask again once we are back, whatever is left of the hour that
        they had been granted (RFC 6665 4.1.3)."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        for number in list(self._watches):
            soon_s = _BACK_S + number % _BACK_S  # not all in the same second
            reason = f"probation;retry-after={soon_s}"
            self._wiring.stack.subscriptions.end(number, reason, now_s=self._wiring.now_s())
        self._wiring.pump()

    # -- documents -------------------------------------------------------------------------------

    def _state(self, watch: _Watch) -> bytes | None:
        """What the watcher is to know; None where a lamp would be told what it shows already."""
        if watch.package == MESSAGES:
            return self._messages(watch.target)
        if watch.package == DIALOG:
            return self._dialogs(watch)
        text = self._pidf(watch.target)
        if text == watch.told:
            return None
        watch.told = text
        return text.encode()

    def _uri(self, number: str) -> str:
        return f"sip:{number}@{self._wiring.office.office.domain}"

    def _messages(self, box: str) -> bytes:
        new, old = self._mailboxes.counts(box)
        return (
            f"Messages-Waiting: {'yes' if new else 'no'}\r\n"
            f"Message-Account: {self._uri(box)}\r\n"
            f"Voice-Message: {new}/{old} (0/0)\r\n"
        ).encode()

    def _legs(self, extension: str) -> list[tuple[Call, Leg]]:
        label = _EXTENSION + extension
        return [
            (call, leg)
            for call in self._calls()
            for leg in call.legs.values()
            if leg.label == label
        ]

    def _dialogs(self, watch: _Watch) -> bytes | None:
        """Every dialog, and once more those that are over since the last time: some telephones put
        the lamp out by that word alone (RFC 4235 3.7.1, 3.10)."""
        over, watch.dialogs = watch.dialogs, {}
        rows = []
        for call, leg in self._legs(watch.target):
            before, state, after = self._dialog(call, leg)
            rows.append(before + state + after)
            watch.dialogs[leg.leg_id] = f"{before}terminated{after}"
        rows += [row for name, row in over.items() if name not in watch.dialogs]
        told = "".join(rows)
        if watch.version and told == watch.told:
            return None
        watch.told = told
        watch.version += 1
        return (
            '<?xml version="1.0"?>\r\n<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info"'
            f' version="{watch.version}" state="full" entity={quoteattr(self._uri(watch.target))}>'
            f"{told}</dialog-info>\r\n"
        ).encode()

    def _dialog(self, call: Call, leg: Leg) -> tuple[str, str, str]:
        """The element of a dialog: what stands before its state, the state, and what follows."""
        calls = leg is call.caller
        state = "confirmed" if leg.answered else "proceeding" if calls else "early"
        other = call.number_to if calls else call.number_from
        ids = ""
        found = self._wiring.stack.dialog_of(leg.session) if leg.session is not None else None
        if found is not None:
            # Tags as the phone sees them, so that it can be named in Replaces (RFC 3891).
            ids = (
                f" call-id={quoteattr(str(found['call_id']))}"
                f" local-tag={quoteattr(str(found['remote_tag']))}"
                f" remote-tag={quoteattr(str(found['local_tag']))}"
            )
        direction = "initiator" if calls else "recipient"
        return (
            f'<dialog id="{leg.leg_id}"{ids} direction="{direction}"><state>',
            state,
            f"</state><remote><identity>{escape(self._uri(other))}</identity></remote></dialog>",
        )

    def _pidf(self, extension: str) -> str:
        published = self._published.get(extension)
        quiet = self._lines.of(extension).do_not_disturb
        is_open = self._reachable(extension) and (published is None or published.is_open)
        is_open = is_open and not quiet
        note = published.note if published is not None else ""
        if quiet:
            note = note or "Do not disturb"
        if any(leg.answered for _, leg in self._legs(extension)):
            note = note or "On the phone"
        noted = f"<note>{escape(note)}</note>" if note else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\r\n<presence xmlns="urn:ietf:params:xml:ns:pidf"'
            f' entity={quoteattr(self._uri(extension))}><tuple id="phone"><status><basic>'
            f"{'open' if is_open else 'closed'}</basic></status>{noted}</tuple></presence>\r\n"
        )
