"""The generic checker of transforms: IR in, interpreted, both modes against each other and both
against differences; then the same for what the transforms gave, which is second order."""

from __future__ import annotations

import numpy as np

from numbaflux.ir.interp import interpret
from numbaflux.ir.nodes import Array, Function
from numbaflux.ir.verify import verify
from numbaflux.passes import optimise
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.vjp import vjp


def check_transforms(fn: Function, args: list, order: int = 1, rtol: float = 1e-5) -> None:
    """jvp against differences, vjp against jvp, the primal untouched by either."""
    verify(fn)
    fn = optimise(fn)
    verify(fn)
    wrt = [p for p in fn.params if p.type.is_float]
    rng = np.random.default_rng(0)
    v = [_like(rng, a) if p in wrt else None for a, p in zip(args, fn.params)]
    directions = [d for d in v if d is not None]
    after, results = _run(fn, args)
    forward, reverse = optimise(jvp(fn, wrt)), optimise(vjp(fn, wrt))
    verify(forward)
    verify(reverse)

    jvp_after, jvp_results = _run(forward, [*args, *directions])
    n, m = len(fn.params), len(fn.results)
    _same(jvp_after[:n] + jvp_results[:m], after + results)
    tangents = [
        *jvp_results[m:],
        *(t for t, p in zip(jvp_after[n:], wrt) if isinstance(p.type, Array)),
    ]
    for t, d in zip(tangents, _differences(fn, args, v), strict=True):
        np.testing.assert_allclose(t, d, rtol=rtol, atol=rtol, err_msg=f"jvp of {fn.name}")

    arrays = [p for p in wrt if isinstance(p.type, Array)]
    weights = [_like(rng, t) for t in tangents]
    outputs, contents = _split(weights, len(weights) - len(arrays))
    vjp_after, vjp_results = _run(reverse, [*args, *contents, *outputs])
    _same(vjp_after[:n] + vjp_results[:m], after + results)
    shadows, scalars = iter(vjp_after[n:]), iter(vjp_results[m:])
    cotangents = [next(shadows if isinstance(p.type, Array) else scalars) for p in wrt]
    left = sum(np.sum(w * t) for w, t in zip(weights, tangents))
    right = sum(np.sum(c * d) for c, d in zip(cotangents, directions))
    size = sum(np.sum(np.abs(w * t)) for w, t in zip(weights, tangents))
    assert abs(left - right) <= 1e-12 * max(1.0, size), f"vjp of {fn.name}: {left} {right}"
    if order > 1:
        check_transforms(forward, [*args, *directions], order - 1, rtol)
        check_transforms(reverse, [*args, *contents, *outputs], order - 1, rtol)


def _run(fn: Function, args: list) -> tuple[list, list]:
    """The arguments after the call, and the results."""
    args = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    return args, list(interpret(fn, args))


def _differences(fn: Function, args: list, v: list, h: float = 1e-6) -> list:
    """∂(float results, contents of the float arrays) · v by central differences."""

    def outputs(e: float) -> list:
        shifted = [a if d is None else a + e * d for a, d in zip(args, v)]
        after, results = _run(fn, shifted)
        return [
            *(r for r, a in zip(results, fn.results) if a.type.is_float),
            *(a for a, p in zip(after, fn.params) if isinstance(p.type, Array) and p.type.is_float),
        ]

    return [(np.asarray(p) - np.asarray(m)) / (2 * h) for p, m in zip(outputs(h), outputs(-h))]


def _like(rng: np.random.Generator, a):
    return (
        rng.standard_normal(a.shape)
        if isinstance(a, np.ndarray) and a.ndim
        else np.float64(rng.standard_normal())
    )


def _same(found: list, expected: list) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


def _split(values: list, n: int) -> tuple[list, list]:
    return values[:n], values[n:]
