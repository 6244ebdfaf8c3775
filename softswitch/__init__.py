"""Softswitch: a SIP/RTP telephone exchange and call centre.

`Switch` is a whole exchange, `Call` what a handler of yours gets, `CallEnded` what it sees when the
caller hangs up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softswitch.errors import CallEnded, SoftswitchError

if TYPE_CHECKING:
    from softswitch.call.call import Call
    from softswitch.switch import Switch

__all__ = ["Call", "CallEnded", "SoftswitchError", "Switch"]
__version__ = "0.1.0"

# Imported at first use: the command line and the media worker start without numpy and SQLAlchemy.
_WHERE = {"Call": "softswitch.call.call", "Switch": "softswitch.switch"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'softswitch' has no attribute {name!r}")
