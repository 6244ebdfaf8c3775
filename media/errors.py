"""The error tree of the media plane. The control plane translates at its door."""

from __future__ import annotations


class MediaError(Exception):
    """Root of everything this package raises on purpose."""


class NoCapacity(MediaError):
    """No worker, no socket or no table row is left for one more stream."""


class UnknownStream(MediaError, LookupError):
    """The stream id was never reserved, or has been released."""


class NotSupported(MediaError):
    """The codec, the tone or the file format is not one that this build can carry."""


class BadName(MediaError, ValueError):
    """A recording name that is not a bare file name made of our own ids."""


class ProtocolViolation(MediaError):
    """A control message that does not decode: the two ends are not of one version."""


class WavError(MediaError, ValueError):
    """The octets are not a WAV file that this package reads."""


class SrtpError(MediaError, ValueError):
    """An SDES attribute, a key or a policy is not usable. Bad packets are counted, never raised."""


class CodecError(MediaError, ValueError):
    """A codec refuses what it is given: a rate, a frame length, a broken packet."""
