"""Independent answers: closed forms to compare with, and differences of high order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# h f'(0) = sum of w (f(k h) - f(-k h)) over k = 1 ... 4, with an error of order h^9.
WEIGHTS = (4 / 5, -1 / 5, 4 / 105, -1 / 280)


def close(got: Any, expected: Any, rtol: float = 1e-9) -> None:
    """Compare with an answer, relative to the size of the whole array."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"the shape is {got.shape}, not {expected.shape}"
    scale = float(np.max(np.abs(expected))) or 1.0
    error = float(np.max(np.abs(got - expected))) / scale
    assert error <= rtol, f"wrong by {error:.2g} of its size; {rtol:.0e} is allowed"


def exactly(answer: Callable[..., Any], rtol: float = 1e-9) -> Callable[[tuple, Any], None]:
    """A check against answer(*args): an array, a number, or a tuple of them."""

    def check(args: tuple, result: Any) -> None:
        expected = answer(*args)
        if not isinstance(result, tuple):
            result, expected = (result,), (expected,)
        for got, want in zip(result, expected, strict=True):
            close(got, want, rtol)

    return check


def direction(args: tuple, argnums: tuple[int, ...], seed: int = 7) -> dict[int, Any]:
    """A random direction: a tangent for each chosen argument."""
    random = np.random.default_rng(seed)
    return {
        i: random.standard_normal(args[i].shape)
        if isinstance(args[i], np.ndarray)
        else float(random.standard_normal())
        for i in argnums
    }


def along(f: Callable[..., Any], args: tuple, tangents: dict[int, Any], h: float) -> Any:
    """The derivative of f along a direction, by central differences of eighth order."""

    def at(t: float) -> Any:
        moved = (arg + t * tangents[i] if i in tangents else arg for i, arg in enumerate(args))
        return np.asarray(f(*moved))

    return sum(w * (at(k * h) - at(-k * h)) for k, w in enumerate(WEIGHTS, 1)) / h


def slope(
    f: Callable[..., Any],
    argnums: tuple[int, ...],
    rtol: float = 1e-6,
    h: float = 1e-3,
    answer: Callable[..., Any] | None = None,
    reference: Callable[..., Any] | None = None,
) -> Callable[[tuple, Any], None]:
    """A check of what `nf.tangent` returns for `direction(args, argnums)`.

    Against answer(*args), the partials of f; without it, against differences of f or, if given,
    of another function that equals it.
    """

    def check(args: tuple, result: Any) -> None:
        tangents = direction(args, argnums)
        if answer is None:
            expected = along(reference or f, args, tangents, h)
        else:
            partials = answer(*args)
            if not isinstance(partials, tuple):
                partials = (partials,)
            expected = sum(map(np.vdot, partials, tangents.values()))
        close(result.primal, f(*args), 1e-9)
        close(result.shadow, expected, rtol)

    return check


def differences(
    f: Callable[..., Any], argnums: tuple[int, ...], rtol: float = 1e-6, h: float = 1e-3
) -> Callable[[tuple, Any], None]:
    """A check of a gradient along two random directions."""

    def check(args: tuple, result: Any) -> None:
        gradients = result if isinstance(result, tuple) else (result,)
        for seed in (11, 12):
            tangents = direction(args, argnums, seed)
            terms = [g * t for g, t in zip(gradients, tangents.values(), strict=True)]
            size = float(np.sqrt(sum(np.sum(np.square(t)) for t in terms)))
            error = abs(sum(map(np.sum, terms)) - float(along(f, args, tangents, h))) / size
            assert error <= rtol, f"wrong by {error:.2g} along a direction; {rtol:.0e} is allowed"

    return check
