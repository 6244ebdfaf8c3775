"""Caller's number -> region, by the longest prefix."""

from __future__ import annotations

from collections.abc import Iterable

from routing.errors import RoutingConfigError
from routing.model import RegionConfig


class RegionTable:
    """`region_of(number)` in as many look-ups as there are prefix lengths."""

    __slots__ = ("_lengths", "_regions")

    def __init__(self, regions: Iterable[RegionConfig] = ()) -> None:
        self._regions: dict[str, str] = {}
        for region in regions:
            for prefix in region.prefixes:
                other = self._regions.setdefault(prefix, region.name)
                if other != region.name:
                    where = f"region {region.name}"
                    raise RoutingConfigError(where, f"prefix {prefix} is also in {other}")
        self._lengths = sorted({len(prefix) for prefix in self._regions}, reverse=True)

    def region_of(self, number: str) -> str:
        """The region, or "" when no prefix fits."""
        for length in self._lengths:
            region = self._regions.get(number[:length])
            if region is not None and len(number) >= length:
                return region
        return ""
