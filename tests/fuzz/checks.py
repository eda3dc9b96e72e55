"""What a random program must satisfy, without compiling it: its IR, read and interpreted.

note [Trust]: a difference counts only if two steps agree, so that no kink and no chaos is near.
Where it does not, forward against reverse mode still must.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import typeof

from numbaflux.frontend import read
from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import Array, Function
from numbaflux.ir.verify import verify
from numbaflux.passes import optimise
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.vjp import vjp
from tests import trees
from tests.fuzz.generator import arguments, build

STEPS = (1e-3, 4e-4)


def check_interpreted(source: str, number: int, order: int) -> int:
    """Check a program in every derivative up to `order`; how many differences were trusted."""
    f, args = build(source), arguments(source, number)
    fn = read(f, tuple(typeof(a) for a in args)).function
    verify(fn)
    python_args = trees.copy(args)
    value = f(*python_args)
    after, results = run(fn, args)
    close([*results, *after], [value, *python_args], 1e-11 if is_double(args) else 1e-4)
    return _Checker(args).check(fn, list(args), order)


def is_double(values) -> bool:
    return all(np.asarray(v).dtype == np.float64 for v in trees.floats(tuple(values)))


def run(fn: Function, args) -> tuple[list, list]:
    """The arguments after the call, and the results."""
    args = list(trees.copy(tuple(args)))
    return args, list(interpret(fn, args))


def close(found, expected, rtol: float) -> None:
    a, b = trees.vector(tuple(found)), trees.vector(tuple(expected))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


class _Checker:
    """Both modes of a function against each other and against differences; then of both again."""

    def __init__(self, args) -> None:
        double = is_double(args)
        self.exact, self.approximate = (1e-11, 1e-6) if double else (1e-4, 2e-2)
        self.steps = STEPS if double else (5e-2, 3e-2)
        self.random = np.random.default_rng(7)
        self.trusted = 0

    def check(self, fn: Function, args: list, order: int) -> int:
        self.fn = fn = verified(optimise(fn))
        wrt = [p for p in fn.params if p.type.is_float]
        v = [self.like(a) if p.type.is_float else None for a, p in zip(args, fn.params)]
        directions = [d for d in v if d is not None]
        after, results = run(fn, args)
        n, m = len(fn.params), len(fn.results)

        forward = verified(optimise(verified(jvp(fn, wrt))))
        forward_args = [*args, *directions]
        found, out = run(forward, forward_args)
        close([*out[:m], *found[:n]], [*results, *after], self.exact)
        shadows = [t for t, p in zip(found[n:], wrt) if isinstance(p.type, Array)]
        tangents = [*out[m:], *shadows]
        self.against_differences(fn, args, v, tangents)

        weights = [self.like(t) for t in tangents]
        seeds, contents = weights[: len(out) - m], weights[len(out) - m :]
        reverse = verified(optimise(verified(vjp(fn, wrt))))
        reverse_args = [*args, *contents, *seeds]
        found, out = run(reverse, reverse_args)
        close([*out[:m], *found[:n]], [*results, *after], self.exact)
        arrays, scalars = iter(found[n:]), iter(out[m:])
        cotangents = [next(arrays if isinstance(p.type, Array) else scalars) for p in wrt]
        self.against_each_other(weights, tangents, cotangents, directions)
        if order > 1:
            self.check(forward, forward_args, order - 1)
            self.check(reverse, reverse_args, order - 1)
        return self.trusted

    def against_each_other(self, weights, tangents, cotangents, directions) -> None:
        """<w, J v> = <J' w, v>"""
        left = trees.vector(tuple(weights)) * trees.vector(tuple(tangents))
        right = trees.vector(tuple(cotangents)) * trees.vector(tuple(directions))
        size = np.abs(left).sum() + np.abs(right).sum() + 1e-2
        assert abs(math.fsum(left) - math.fsum(right)) <= self.exact * size, (
            f"modes disagree: {math.fsum(left)} forward, {math.fsum(right)} reverse"
        )

    def against_differences(self, fn: Function, args: list, v: list, tangents: list) -> None:
        """Forward mode against differences. note [Trust]"""
        types = [p.type for p in fn.params]

        def at(t: float) -> np.ndarray:
            moved, results = run(fn, [trees.shifted(a, d, t) for a, d in zip(args, v)])
            arrays = [a for a, ty in zip(moved, types) if isinstance(ty, Array) and ty.is_float]
            return trees.vector((*results, *arrays))

        coarse, fine = (central(at, step) for step in self.steps)
        actual = trees.vector(tuple(tangents))
        assert actual.shape == fine.shape
        assert np.all(np.isfinite(actual))
        scale = 1.0 + np.max(np.abs(fine), initial=0.0)
        if np.allclose(coarse, fine, rtol=0.0, atol=0.1 * self.approximate * scale):
            self.trusted += 1
            np.testing.assert_allclose(
                actual, fine, rtol=0.0, atol=self.approximate * scale, err_msg="differences"
            )

    def like(self, a: Any) -> Any:
        return trees.random_like(a if isinstance(a, np.ndarray) else np.asarray(a)[()], self.random)


def central(at: Callable[[float], np.ndarray], h: float) -> np.ndarray:
    """The derivative of `at` at 0, of fourth order."""
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def verified(fn: Function) -> Function:
    verify(fn)
    return fn
