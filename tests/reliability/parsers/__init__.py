"""Every parser of what comes from outside (row 7); `tests/reliability/test_parsers.py` bends their inputs."""

from tests.reliability.parsers import centre, signalling, sound
from tests.reliability.parsers.register import PARSERS, Parser

__all__ = ["PARSERS", "Parser", "centre", "signalling", "sound"]
