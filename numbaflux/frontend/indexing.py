"""Indexing with arrays: `a[idx]`, `a[mask]`, their assignments, and the positions a mask means.

A mask is turned into the positions where it holds; from there on both are a gather or a scatter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numbaflux.errors import UnsupportedError
from numbaflux.frontend.arrays import (
    ONE,
    ZERO,
    Operand,
    any_of,
    as_array,
    broadcast,
    check,
    differ,
    element,
    element_type,
    is_array,
    loops,
    materialise,
    new,
    rank,
    shape,
    size,
    truth,
)
from numbaflux.frontend.calls import Call, as_index, axis_of
from numbaflux.frontend.reductions import count_of
from numbaflux.frontend.views import Item, raveled, reshaped, view
from numbaflux.ir.build import Builder, array_of, full_slice
from numbaflux.ir.nodes import BOOL, I64, Array, Atom, Const, Slice

# ---- a[items] with one array among the items ---------------------------------------------------


def get_items(b: Builder, a: Atom, items: Sequence[Item], type: Array) -> Atom:
    """a[items] where one item is an array of integers or truths: a copy."""
    base, axis, at = _resolved(b, a, items)
    lengths = shape(b, base)
    positions = shape(b, at)
    out = new(b, [*lengths[:axis], *positions, *lengths[axis + 1 :]], type, name="taken")

    def body(k: list[Atom]) -> None:
        b.store(out, k, b.load(base, _through(b, at, axis, k)))

    loops(b, shape(b, out), body)
    return out


def set_items(b: Builder, a: Atom, items: Sequence[Item], value: Operand) -> None:
    """a[items] = value where one item is an array; the last of several stores to a place counts."""
    base, axis, at = _resolved(b, a, items)
    value = materialise(b, value)
    own = shape(b, base)
    lengths = [*own[:axis], *shape(b, at), *own[axis + 1 :]]
    if is_array(value):
        value = _private(b, value)
    found = broadcast(b, [value], lengths)

    def body(k: list[Atom]) -> None:
        (v,) = found.elements(b, [value], k)
        b.store(base, _through(b, at, axis, k), b.cast(v, element_type(base)))

    loops(b, lengths, body)
