"""The error tree of the control plane; `media` and `routing` keep their own roots."""

from __future__ import annotations


class SoftswitchError(Exception):
    """Root of everything this package raises on purpose."""


class ConfigError(SoftswitchError):
    """A configuration value is not usable.

    Parameters: `key_path` as the user wrote it (``queue[2].skill``), `problem` in a few words, and
    `allowed`, what may stand there instead.
    """

    def __init__(self, key_path: str, problem: str, allowed: str = "") -> None:
        self.key_path = key_path
        self.problem = problem
        self.allowed = allowed
        hint = f"; allowed: {allowed}" if allowed else ""
        super().__init__(f"{key_path}: {problem}{hint}")


class SipError(SoftswitchError):
    """Root of the SIP layer's errors."""


class LocalProtocolError(SipError):
    """Our own code asked for something the protocol forbids now: a bug; ends that call only."""


class RemoteProtocolError(SipError):
    """The peer broke the protocol. `status_hint` is the answer it deserves, or None for silence."""

    def __init__(self, reason: str, status_hint: int | None = 400) -> None:
        self.status_hint = status_hint
        super().__init__(reason)


class CallError(SoftswitchError):
    """One call cannot go on."""


class CallEnded(CallError):
    """Raised at the await of a call handler whose caller has hung up."""


class CallTransferred(CallEnded):
    """Raised by `Call.transfer`: the handler is to be left, the call goes on elsewhere."""


class MailError(SoftswitchError):
    """A mail was not taken; unless `final` it is tried again."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(reason)


class MediaUnavailable(SoftswitchError):
    """No worker, no port or no codec for a stream."""


class QueueUnavailable(SoftswitchError):
    """The queue does not exist or takes nobody now."""


class StoreError(SoftswitchError):
    """The database refused; callers spool and go on."""


class Unreachable(SoftswitchError):
    """Another server, which this needs, cannot be asked now."""
