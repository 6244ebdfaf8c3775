"""Are the packages `media` and `routing` ours? Both names exist on PyPI and in people's own projects."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import softswitch
from softswitch.errors import SoftswitchError

_OURS = ("media", "routing")


def strangers() -> list[str]:
    """One line for each package that is missing or comes from somewhere else than `softswitch`."""
    home = Path(softswitch.__file__).resolve().parent.parent
    found = []
    for name in _OURS:
        place = _place_of(name)
        if place is None:
            found.append(f"the package {name} is missing; install softswitch again")
        elif place.parent != home:
            found.append(
                f"the package {name} comes from {place}, not from {home}: rename or uninstall that"
            )
    return found


def require_ours() -> None:
    """Raises `SoftswitchError` naming the culprit where a package of the same name shadows ours."""
    if found := strangers():
        raise SoftswitchError("; ".join(found))


def _place_of(name: str) -> Path | None:
    """The directory, or single file, that the import of `name` would find."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.origin is None or not spec.has_location:
        locations = list(spec.submodule_search_locations or ())
        return Path(locations[0]).resolve() if locations else Path(str(spec.origin))
    origin = Path(spec.origin).resolve()
    return origin.parent if origin.name == "__init__.py" else origin
