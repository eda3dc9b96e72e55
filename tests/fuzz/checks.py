"""What a random program must satisfy, without compiling it: its IR, read and interpreted.

note [Trust]: a difference counts only if two steps agree, so that no kink and no chaos is near, and
if the second difference shrinks as it does without a kink at the very point (a tie of `max`), where
both steps give the mean of two slopes.  Where it does not count, the modes still must agree.
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


def check_interpreted(source: str, number: int, dtype: type = np.float64, order: int = 1) -> int:
    """Check a random program; how many differences were trusted."""
    return check_function(build(source), arguments(number, dtype), dtype, order)


def check_function(f: Callable, args: tuple, dtype: type = np.float64, order: int = 1) -> int:
    """Check a function of scalars and arrays in every derivative up to `order`."""
    fn = verified(read(f, tuple(typeof(a) for a in args)).function)
    after, results = run(fn, args)
    if dtype is np.float64:
        python_args = trees.copy(args)
        value = getattr(f, "py_func", f)(*python_args)
        close([value, *python_args], [*results, *after], 1e-11)
    return _Checker(dtype).check(fn, list(args), order)


def run(fn: Function, args) -> tuple[list, list]:
    """The arguments after the call, and the results."""
    args = list(trees.copy(tuple(args)))
    return args, list(interpret(fn, args))


def close(found, expected, rtol: float) -> None:
    a, b = trees.vector(tuple(found)), trees.vector(tuple(expected))
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


class _Checker:
    """Both modes of a function against each other and against differences; then of both again."""

    def __init__(self, dtype: type) -> None:
        double = dtype is np.float64
        self.exact, self.approximate = (1e-11, 1e-6) if double else (2e-4, 2e-2)
        self.steps = (1e-3, 4e-4) if double else (5e-2, 3e-2)
        self.random = np.random.default_rng(7)
        self.trusted = 0

    def check(self, fn: Function, args: list, order: int) -> int:
        after, results = run(fn, args)
        fn = verified(optimise(fn))
        found, out = run(fn, args)
        close([*out, *found], [*results, *after], self.exact)
        wrt = [p for p in fn.params if p.type.is_float]
        v = [self.like(a) if p.type.is_float else None for a, p in zip(args, fn.params)]
        directions = [d for d in v if d is not None]
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

        here = at(0.0)
        (coarse, bend), (fine, less) = (central(at, here, step) for step in self.steps)
        actual = trees.vector(tuple(tangents))
        assert actual.shape == fine.shape
        assert np.all(np.isfinite(actual))
        scale = 1.0 + np.max(np.abs(fine), initial=0.0)
        doubt = np.abs([coarse - fine, bend - less * self.steps[0] / self.steps[1]])
        if np.all(doubt <= 0.1 * self.approximate * scale):
            self.trusted += 1
            np.testing.assert_allclose(
                actual, fine, rtol=0.0, atol=self.approximate * scale, err_msg="differences"
            )

    def like(self, a: Any) -> Any:
        return trees.random_like(a if isinstance(a, np.ndarray) else np.asarray(a)[()], self.random)


def central(
    at: Callable[[float], np.ndarray], here: np.ndarray, h: float
) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of `at` at 0, of fourth order, and how far from straight it is."""
    up, down = at(h), at(-h)
    slope = (8 * (up - down) - (at(2 * h) - at(-2 * h))) / (12 * h)
    return slope, (up - 2 * here + down) / h


def verified(fn: Function) -> Function:
    verify(fn)
    return fn
