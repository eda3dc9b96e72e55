"""The arrays of a tape as pieces of memory.

note [Held]  An array on a tape is a piece of memory, seen in one way: two arrays of one address,
shape, strides and type are the same, and others must not overlap.  A tape holds on to its arrays,
so that no address is used again.

note [Stamps]  What changes an array behind the tape's back would make its gradient wrong.  So each
array has a stamp of its contents, if its machine makes such, which is compared whenever the array
is used again.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from numbaflux.cuda.arguments import interface, is_array, span
from numbaflux.cuda.machines import machine_of

Key = tuple[Any, ...]


def key_of(array: Any) -> Key:
    """What makes two objects the same array. note [Held]"""
    given = interface(array)
    shape, kind, strides = tuple(given["shape"]), given["typestr"], given.get("strides")
    if strides is None:
        strides = (np.dtype(kind).itemsize * prod(shape[k + 1 :]) for k in range(len(shape)))
    return given["data"][0], shape, tuple(strides), kind


@dataclass(eq=False)
class Held:
    """The arrays of a tape. note [Held]"""

    arrays: dict[Key, Any] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)
    stamps: dict[Key, int | None] = field(default_factory=dict)

    def look(self, leaves: Iterable[Any]) -> None:
        """Before something happens to these. note [Stamps]"""
        for array in filter(is_array, leaves):
            key = self.key(array)
            stamp = machine_of(array).stamp(array)
            if self.stamps.setdefault(key, stamp) != stamp:
                raise RuntimeError(
                    "an array on a tape was changed by something else than a launch or a copy"
                )

    def changed(self, arrays: Iterable[Any]) -> None:
        """After these have been written. note [Stamps]"""
        for array in arrays:
            self.stamps[self.key(array)] = machine_of(array).stamp(array)

    def key(self, array: Any) -> Key:
        """The key of an array, which from now on is on the tape."""
        key = key_of(array)
        if key not in self.arrays:
            start, end = span(array)
            if start < end:
                at = bisect(self.spans, (start, end))
                before = at > 0 and self.spans[at - 1][1] > start
                behind = at < len(self.spans) and self.spans[at][0] < end
                if before or behind:
                    raise ValueError("two arrays on a tape share memory and are not the same")
                self.spans.insert(at, (start, end))
            self.arrays[key] = array
        return key
