"""Nested tuples, lists and arrays as vectors of their floats."""

from collections.abc import Callable
from typing import Any

import numpy as np


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, (float, np.floating)) or (
        isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
    )


def _rebuild(tree: Any, items: list) -> Any:
    return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)


def map_floats(f: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with f of each float leaf (for arrays: with that layout), others as they are."""
    if isinstance(tree, (tuple, list)):
        return _rebuild(tree, [map_floats(f, item) for item in tree])
    if not _is_float(tree):
        return tree
    if isinstance(tree, np.ndarray):
        changed = f(tree)
        out = like(tree, changed.dtype)
        out[...] = changed
        return out
    return f(tree)


def like(array: np.ndarray, dtype: Any) -> np.ndarray:
    """A new array of that shape and layout (a strided array stays strided)."""
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return np.empty_like(array, dtype=dtype)
    wide = np.zeros(tuple(2 * n for n in array.shape), dtype=dtype)
    return wide[tuple(slice(None, None, 2) for _ in array.shape)]


def copy(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Fresh arguments; an array given twice stays one array."""
    made: dict[int, Any] = {}

    def one(tree: Any) -> Any:
        if isinstance(tree, (tuple, list)):
            return _rebuild(tree, [one(item) for item in tree])
        if isinstance(tree, np.ndarray):
            if id(tree) not in made:
                made[id(tree)] = like(tree, tree.dtype)
                made[id(tree)][...] = tree
            return made[id(tree)]
        return tree

    return tuple(one(arg) for arg in args)


def floats(tree: Any) -> list[Any]:
    """The float leaves, in order."""
    if isinstance(tree, (tuple, list)):
        return [leaf for item in tree for leaf in floats(item)]
    return [tree] if _is_float(tree) else []


def vector(tree: Any) -> np.ndarray:
    """All floats of a tree in one float64 vector."""
    leaves = [np.ravel(np.asarray(leaf, dtype=np.float64)) for leaf in floats(tree)]
    return np.concatenate([np.zeros(0), *leaves])


def random_like(tree: Any, random: np.random.Generator) -> Any:
    """A tree of normal numbers with the structure and dtypes of this one, None for constants."""
    if isinstance(tree, (tuple, list)):
        return _rebuild(tree, [random_like(item, random) for item in tree])
    if not _is_float(tree):
        return None
    if isinstance(tree, np.ndarray):
        return map_floats(lambda a: random.standard_normal(a.shape).astype(a.dtype), tree)
    return type(tree)(random.standard_normal())


def shifted(tree: Any, tangent: Any, step: float) -> Any:
    """tree + step * tangent, in the dtypes of the tree; None moves nothing."""
    if tangent is None:
        return tree
    if isinstance(tree, (tuple, list)):
        moved = [shifted(item, t, step) for item, t in zip(tree, tangent, strict=True)]
        return _rebuild(tree, moved)
    if isinstance(tree, np.ndarray):
        return map_floats(lambda a: a + a.dtype.type(step) * tangent, tree)
    return type(tree)(tree + step * tangent)


def dot(a: Any, b: Any) -> float:
    """The inner product over the floats of two trees of one structure."""
    left, right = vector(a), vector(b)
    assert left.shape == right.shape
    return float(left @ right)


def tangents(args: tuple[Any, ...], argnums: tuple[int, ...], seed: int) -> tuple[Any, ...]:
    """Random tangents for `argnums`, None for the rest; an array given twice has one tangent."""
    random = np.random.default_rng(seed)
    made: dict[int, Any] = {}
    out: list[Any] = [None] * len(args)
    for i in argnums:
        if id(args[i]) not in made:
            made[id(args[i])] = random_like(args[i], random)
        out[i] = made[id(args[i])]
    return tuple(out)


def differences(f: Callable[..., Any], args: tuple[Any, ...], tangent: tuple, step: float = 1e-3):
    """d f(args + t tangent) / dt at 0 as a vector: central, fourth order."""

    def at(t: float) -> np.ndarray:
        return vector(f(*copy(shifted_args(args, tangent, t))))

    return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)


def shifted_args(args: tuple[Any, ...], tangent: tuple, step: float) -> tuple[Any, ...]:
    """The arguments moved along the tangents; an array given twice moves as one."""
    made: dict[int, Any] = {}
    out = []
    for arg, t in zip(args, tangent, strict=True):
        if t is None:
            out.append(arg)
            continue
        if id(arg) not in made:
            made[id(arg)] = shifted(arg, t, step)
        out.append(made[id(arg)])
    return tuple(out)
