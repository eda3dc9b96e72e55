"""`check_grads`: derivatives against differences, for users and for our own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numbaflux.api.public import derivative, jvp, vjp
from numbaflux.api.transforms import OfPairs

# Fourth-order central differences (Fornberg, Math. Comp. 51 (1988), table 1).
STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))


def check_grads(
    f: Callable,
    args: tuple,
    order: int = 1,
    modes: tuple[str, ...] = ("fwd", "rev"),
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Raise AssertionError unless f's derivatives at `args` agree with differences of f.

    In a random direction v and with random weights w: J v of forward mode against fourth-order
    central differences, and (wᵀ J) v of reverse mode against the same. `order=2` does this for
    x ↦ J(x) v as well. Arguments that are not floating point are held constant.

    >>> import numbaflux as nf
    >>> nf.check_grads(lambda x: x**3, (2.0,), order=2)
    """
    rng = np.random.default_rng(seed)
    args = tuple(args)
    v = tuple(_direction(rng, a) for a in args)
    single = any(np.asarray(a).dtype == np.float32 for a in _leaves(args))
    rtol = rtol or (1e-2 if single else 1e-6)
    _check(f, args, v, modes, rtol, rng)
    if order > 1:
        along = derivative(OfPairs("jvp"), f)
        _check(along, (args, v), (v, None), modes, 30 * rtol, rng)


def _check(f: Callable, args: tuple, v: tuple, modes, rtol: float, rng) -> None:
    reference = _differences(f, args, v, 1e-1 if rtol > 1e-3 else 2e-3)
    if "fwd" in modes:
        _, forward = jvp(f, _copy(args), v)
        _close(forward, reference, rtol, "forward mode against differences")
    if "rev" in modes:
        w = _map(lambda a: _direction(rng, a), f(*_copy(args)))
        _, cts = vjp(f, _copy(args), w)
        _close(_dot(cts, v), _dot(w, reference), rtol, "reverse mode against differences")


def _differences(f: Callable, args: tuple, v: tuple, h: float) -> Any:
    """∂f/∂x · v by differences, structured like the output of f."""
    total = None
    for steps, weight in STENCIL:
        value = f(*_shifted(_copy(args), v, steps * h))
        part = _map(lambda a, c=weight / h: np.multiply(a, c), value)
        total = part if total is None else _map(np.add, total, part)
    return total


def _direction(rng: np.random.Generator, a: Any) -> Any:
    """A random direction in the space of `a`, None where it has none."""
    if isinstance(a, tuple):
        return _rebuild(a, [_direction(rng, i) for i in a])
    if isinstance(a, np.ndarray) and a.dtype.kind == "f":
        return rng.standard_normal(a.shape).astype(a.dtype)
    if isinstance(a, float | np.floating):
        return type(a)(rng.standard_normal())
    return None


def _shifted(a: Any, v: Any, h: float) -> Any:
    """a + h v"""
    if v is None:
        return a
    if isinstance(a, tuple):
        return _rebuild(a, [_shifted(i, d, h) for i, d in zip(a, v)])
    return type(a)(a + h * v) if not isinstance(a, np.ndarray) else a + (h * v).astype(a.dtype)


def _map(f: Callable, *trees: Any) -> Any:
    """f over the floating point leaves of equally structured trees; None elsewhere."""
    first = trees[0]
    if isinstance(first, tuple):
        return _rebuild(first, [_map(f, *items) for items in zip(*trees)])
    if first is None or np.asarray(first).dtype.kind != "f":
        return None
    return f(*trees)


def _rebuild(like: tuple, items: list) -> tuple:
    return type(like)(*items) if hasattr(like, "_fields") else tuple(items)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, tuple):
        for item in tree:
            yield from _leaves(item)
    elif tree is not None:
        yield tree


def _copy(tree: Any) -> Any:
    if isinstance(tree, tuple):
        return _rebuild(tree, [_copy(i) for i in tree])
    return tree.copy() if isinstance(tree, np.ndarray) else tree


def _dot(a: Any, b: Any) -> float:
    """The inner product of two equally structured trees, over what both have."""
    if a is None or b is None:
        return 0.0
    if isinstance(a, tuple):
        return sum(_dot(x, y) for x, y in zip(a, b))
    return float(np.vdot(np.asarray(a, dtype=float), np.asarray(b, dtype=float)))


def _close(actual: Any, expected: Any, rtol: float, what: str) -> None:
    for x, y in zip(_leaves(actual), _leaves(expected), strict=True):
        scale = max(1.0, float(np.max(np.abs(y), initial=0.0)))
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * scale, err_msg=what)
