"""The commands of the admin socket: what `softswitch status`, `trace`, `unban` and the like ask for."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from media.errors import MediaError
from softswitch.call.trunks import plain_host
from softswitch.errors import SoftswitchError, StoreError
from softswitch.ladder import decisions
from softswitch.sip.uri import write_host
from softswitch.trace import TracedMessage
from softswitch.traced_calls import CALLS_MAX

if TYPE_CHECKING:
    from softswitch.switch import Switch

_NAMED_MAX = 5

_log = logging.getLogger("softswitch")


class AdminCommands:
    """Answers each command with plain values; `by_name` is what `AdminServer` serves."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch

    @property
    def by_name(self) -> dict[str, Any]:
        """The handler of each command."""
        return {
            "status": self.status,
            "trace": self.trace,
            "unban": self.unban,
            "drain": self.drain,
            "line": self.line,
            "reload": self.reload,
            "api": self.api,
            "flush": self.flush,
        }

    async def status(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._switch.snapshot()

    async def _note(self, request: dict[str, Any], action: str, thing: str, **details: Any) -> None:
        """Into the audit log, as what is done through the API. A database that is locked undoes nothing."""
        if self._switch.store is None:
            return
        who = str(request.get("who") or "command line")[:64]
        try:
            async with self._switch.store.ledger.change(f"local:{who}") as change:
                change.note(action, thing, **details)
        except StoreError as error:
            _log.error("not in the audit log: %s on %s: %s", action, thing, error)

    async def reload(self, request: dict[str, Any]) -> dict[str, Any]:
        done = await self._switch.reload()
        await self._note(request, "office-reloaded", "office:file", changed=done.changed)
        return {"changed": done.changed, "restart": done.restart}

    async def api(self, request: dict[str, Any]) -> dict[str, Any]:
        """Where the API is, "" where it is not served, and a token for it: who may open the admin socket may
        do everything."""
        if self._switch.http is None:
            return {"url": "", "token": ""}
        await self._switch.http.ready.wait()
        assert self._switch.http.service is not None
        who = str(request.get("who") or "command line")[:64]
        url = f"http://{self._switch.http.reached_at}"
        return {"url": url, "token": self._switch.http.service.accounts.local_token(who)}

    async def flush(self, _: dict[str, Any]) -> dict[str, Any]:
        """Have everything that has happened so far in the database."""
        done = await self._switch.store.journal.flush() if self._switch.store is not None else False
        return {"flushed": done}

    async def unban(self, request: dict[str, Any]) -> dict[str, Any]:
        address = plain_host(str(request.get("address") or ""))
        lifted = self._switch.gatekeeper.guard.unban(address)
        if lifted:
            await self._note(request, "ban-lifted", f"ban:{address}")
        return {"lifted": lifted}

    async def drain(self, request: dict[str, Any]) -> dict[str, Any]:
        """Give a media worker no new calls, and renew it when it is empty; `on` False: let it be."""
        worker = request.get("worker")
        number = worker if isinstance(worker, int) else -1
        try:
            self._switch.plane.drain(number, on=bool(request.get("on", True)))
        except MediaError as error:
            raise SoftswitchError(str(error)) from error
        on = bool(request.get("on", True))
        await self._note(request, "worker-drained", f"worker:{number}", on=on)
        return {"workers": self._switch.snapshot()["workers"]}

    async def line(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change settings of an extension, then show them. Those before a refused one are changed."""
        extension, lines = str(request.get("extension") or ""), self._switch.lines
        for setting, value in (request.get("changes") or {}).items():
            lines.set(extension, setting, value, by="command line")
            await self._note(
                request, "extension-line-changed", f"extension:{extension}", **{setting: value}
            )
        return lines.of(extension).snapshot()

    async def trace(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        name = self._traced(str(request.get("call") or ""))
        legs = self._switch.traced_calls.legs_of(name) if name else None
        wanted = None if legs is None else frozenset(legs)
        rows = [
            _message_row(message, legs or {}) for message in self._switch.trace.messages(wanted)
        ]
        for row in rows:
            row["wall_s"] = self._switch.wall_of(row["at_s"])
        if name:
            told = await self._decisions(name)
            rows += self._forgotten(told) + told
            rows.sort(key=lambda row: row["at_s"])
        for row in rows:
            yield row
        if not request.get("follow"):
            return
        calls = self._switch.traced_calls
        ours = (lambda call_id: calls.call_of(call_id) == name) if name else None
        async for message in self._switch.trace.follow(ours):
            yield _message_row(message, calls.legs_of(name))

    async def _decisions(self, call_id: str) -> list[dict[str, Any]]:
        """What the journal says was decided about a call, on the clock of its messages."""
        if self._switch.store is None:
            return []
        await self._switch.store.journal.flush()
        ahead_s = self._switch.wall_of(0.0)
        entries = await self._switch.store.entries.of_story(call_id)
        told = decisions((entry.at_s - ahead_s, entry.kind, entry.data()) for entry in entries)
        return [{"at_s": at_s, "decided": words} for at_s, words in told]

    def _traced(self, part: str) -> str:
        """The call that is meant, "" for all. Raises `SoftswitchError` where it is none, or one of several."""
        if not part:
            return ""
        found = self._switch.traced_calls.named(part)
        if not found:
            raise SoftswitchError(
                f"call {part} is not among the last {CALLS_MAX} calls since the start; "
                f"`softswitch why {part}` tells what was decided"
            )
        if len(found) > 1:
            some = ", ".join(found[:_NAMED_MAX]) + (" ..." if len(found) > _NAMED_MAX else "")
            raise SoftswitchError(f"{part} is part of several calls' ids: {some}")
        return found[0]

    def _forgotten(self, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A line that says so where messages of a call are no longer kept."""
        since_s = self._switch.trace.kept_since_s
        if not told or told[0]["at_s"] >= since_s:
            return []
        kept = self._switch.trace.snapshot()["messages"]
        words = f"older messages are forgotten: {kept} are kept ([trace] messages)"
        return [{"at_s": min(since_s, told[-1]["at_s"]), "decided": words}]


def _message_row(message: TracedMessage, legs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "at_s": message.at_s,
        "received": message.received,
        "peer": write_host(*message.flow.remote),
        "local": write_host(*message.flow.local),
        "transport": message.flow.transport,
        "leg": legs.get(message.call_id, ""),
        "first_line": message.first_line,
        "cseq": message.cseq,
        "call_id": message.call_id,
        "raw": message.data.decode("utf-8", "surrogateescape"),
    }
