"""Tables made from the office, made anew when it is another one: the office may change while calls go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from softswitch.config.lines import Extension
    from softswitch.config.model import Office

T = TypeVar("T")


class HasOffice(Protocol):
    """Whoever holds the office of now."""

    @property
    def office(self) -> Office: ...


class FromOffice(Generic[T]):
    """What `make` makes of the office that `holder` has now; asked by calling it."""

    __slots__ = ("_holder", "_made", "_make", "_of")

    def __init__(self, holder: HasOffice, make: Callable[[Office], T]) -> None:
        self._holder = holder
        self._make = make
        self._of = holder.office
        self._made = make(self._of)

    def __call__(self) -> T:
        office = self._holder.office
        if office is not self._of:
            self._made = self._make(office)
            self._of = office
        return self._made


def extensions_by_number(office: Office) -> dict[str, Extension]:
    """Every extension."""
    return {extension.number: extension for extension in office.extensions}
