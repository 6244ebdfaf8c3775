"""The register: what reads octets or text of strangers, inputs that are right, and the errors it may raise."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tests.reliability.mutation import mutated

Run = Callable[[Iterator[bytes]], None]
Take = Callable[[bytes], object]
_SEEDS_SHOWN = 1000


@dataclass(frozen=True)
class Parser:
    """`seeds` are right; `run` reads inputs one after the other, and raises for the first whose outcome is
    neither a value nor the error that was promised. `also` is read as it is: too slow to be bent."""

    name: str
    make_seeds: Callable[[], Sequence[bytes]]
    run: Run
    also: Sequence[bytes] = ()

    @cached_property
    def seeds(self) -> list[bytes]:
        return list(self.make_seeds())

    def inputs(self, seed: int) -> Iterator[bytes]:
        """Without end, bent."""
        source = random.Random(f"{self.name} {seed}")
        while True:
            yield mutated(self.seeds[int(source.random() * len(self.seeds))], source, self.seeds)


PARSERS: dict[str, Parser] = {}


def parser(
    name: str,
    seeds: Callable[[], Sequence[bytes]] | Sequence[bytes],
    *errors: type[Exception],
    also: Sequence[bytes] = (),
) -> Callable[[Take], Take]:
    """Register a function that reads one input, with the errors that it may raise."""

    def register(take: Take) -> Take:
        def run(data: Iterator[bytes]) -> None:
            for each in data:
                try:
                    take(each)
                except errors:
                    continue
                except Exception as error:
                    shown = each[:_SEEDS_SHOWN]
                    raise AssertionError(f"{name}: {error!r} for {shown!r}") from error

        add(name, seeds, run, also)
        return take

    return register


def add(
    name: str,
    seeds: Callable[[], Sequence[bytes]] | Sequence[bytes],
    run: Run,
    also: Sequence[bytes] = (),
) -> None:
    """Register what reads many at once."""
    assert name not in PARSERS
    PARSERS[name] = Parser(name, seeds if callable(seeds) else lambda: seeds, run, also)


def text_of(data: bytes) -> str:
    """Octets as the SIP parser hands them on."""
    return data.decode("utf-8", "surrogateescape")
