"""The arguments of a launch: their leaves, their types, and the memory that arrays take.

note [Interfaces]  An array is on the host, a NumPy array, or on a device: then whoever made it
says where and how by `__cuda_array_interface__`, version 2 or 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numba import typeof, types

from numbaflux.api.transforms import Dup

Types = tuple[Any, ...]


def flat(arg: Any) -> Iterator[Any]:
    """The leaves of an argument from left to right."""
    if isinstance(arg, tuple):
        for item in arg:
            yield from flat(item)
    else:
        yield arg


def leaves_of(args: Sequence[Any]) -> list[Any]:
    """The leaves of the arguments from left to right."""
    return [leaf for arg in args for leaf in flat(arg)]


def with_leaves(args: Sequence[Any], leaves: Iterator[Any]) -> tuple[Any, ...]:
    """The arguments with other leaves, from left to right."""

    def one(arg: Any) -> Any:
        if not isinstance(arg, tuple):
            return next(leaves)
        items = with_leaves(arg, leaves)
        return type(arg)(*items) if hasattr(arg, "_fields") else items

    return tuple(one(arg) for arg in args)


def with_dups(args: Sequence[Any], shadows: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments, as Dup(x, dx) where there is a shadow."""
    return tuple(a if d is None else Dup(a, d) for a, d in zip(args, shadows, strict=True))


def type_of(arg: Any) -> Any:
    """The Numba type of an argument, which may be a type or hold types.

    An array on a device has the type of its like on the host.
    """
    if isinstance(arg, types.Type):
        return arg
    if isinstance(arg, tuple):
        return types.BaseTuple.from_types([type_of(item) for item in arg], type(arg))
    if isinstance(arg, np.ndarray) or not is_array(arg):
        return typeof(arg)
    given = interface(arg)
    dtype, shape, strides = np.dtype(given["typestr"]), given["shape"], given.get("strides")
    one, writeable = np.empty(1, dtype), not given["data"][1]
    return typeof(np.lib.stride_tricks.as_strided(one, shape, strides, writeable=writeable))


def types_of(args: Sequence[Any]) -> Types:
    return tuple(type_of(a) for a in args)


def plain_argument(arg: Any) -> Any:
    """The argument as the program takes it: states of `cuda.random` are rows of two numbers."""
    names = getattr(getattr(arg, "dtype", None), "names", None)
    return arg.view(np.uint64).reshape(-1, 2) if names == ("s0", "s1") else arg


# ---- arrays ------------------------------------------------------------------------------------


def is_array(leaf: Any) -> bool:
    """Whether it is an array, on the host or on a device."""
    return bool(getattr(leaf, "ndim", 0))


def on_host(array: Any) -> bool:
    return isinstance(array, np.ndarray)


def interface(array: Any) -> Mapping[str, Any]:
    """Where an array is and how its elements lie. note [Interfaces]

    Numba's simulator of a device has arrays of the host, and only their interface.
    """
    found = None if on_host(array) else getattr(array, "__cuda_array_interface__", None)
    return array.__array_interface__ if found is None else found


def span(array: Any) -> tuple[int, int]:
    """The addresses that an array's elements lie between."""
    given = interface(array)
    start, shape, size = given["data"][0], given["shape"], np.dtype(given["typestr"]).itemsize
    strides = given.get("strides")
    if 0 in shape:
        return start, start
    if strides is None:
        return start, start + size * prod(shape)
    ways = [(n - 1) * step for n, step in zip(shape, strides)]
    return start + sum(w for w in ways if w < 0), start + size + sum(w for w in ways if w > 0)


def is_float(array: Any) -> bool:
    return np.dtype(interface(array)["typestr"]).kind == "f"


def check_arguments(args: Sequence[Any]) -> None:
    """Raise ValueError for a shadow of another shape, or one array that is passed twice."""
    for primal, shadow in (pair for arg in args for pair in pairs(arg)):
        if tuple(primal.shape) != tuple(shadow.shape):
            raise ValueError(
                f"a shadow of shape {shadow.shape} for an array of shape {primal.shape}"
            )
    spans = sorted(span(a) for a in leaves_of(args) if is_array(a) and prod(a.shape))
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise ValueError("two arrays that are passed to a kernel share memory")


def pairs(arg: Any) -> Iterator[tuple[Any, Any]]:
    """Every primal array in an argument with its shadow."""
    if not isinstance(arg, tuple):
        return
    if isinstance(arg, Dup):
        for primal, shadow in zip(flat(arg.primal), flat(arg.shadow)):
            if is_array(primal) and is_array(shadow):
                yield primal, shadow
    for item in arg:
        yield from pairs(item)
