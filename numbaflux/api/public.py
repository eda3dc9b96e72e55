"""What users call.  JAX's names, with JAX's meanings, wherever they exist.

`f` is a plain Python function in the subset that Numba compiles, an `@njit` function, or what one
of these transforms has returned.  The options of an `@njit` function carry over to its derivative;
for a plain function they are given as keywords: `cache fastmath error_model parallel boundscheck
nogil`.  One option is our own: `vecmath=False` leaves elementary functions to `math`; without it,
loops that can run over vectors call `numbaflux.vecmath`, whose values differ by an ulp at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from operator import index
from typing import Any

from numbaflux.api.dispatcher import Derivative, Dispatcher, register_call, register_transform
from numbaflux.api.transforms import InPlace, OfArguments, OfPairs, Transform

Argnums = int | tuple[int, ...]
CHUNKS = (1, 2, 4, 8, 16, 32, 64)


def derivative(transform: Transform, f: Any, **options: Any) -> Derivative:
    """The derivative object of `f`; one and the same for the same transform without options."""
    return Derivative(transform, f, options) if options else _derivative(transform, f)


@lru_cache(maxsize=1024)
def _derivative(transform: Transform, f: Any) -> Derivative:
    return Derivative(transform, f, {})


def _argnums(argnums: Any) -> Argnums:
    wrong = TypeError(f"argnums is an int or a tuple of ints, not {argnums!r}")
    try:
        if hasattr(argnums, "__index__"):
            return index(argnums)
        chosen = tuple(index(n) for n in argnums)
    except TypeError:
        raise wrong from None
    if not chosen:
        raise wrong
    return chosen


def _chunk(chunk: Any) -> int | None:
    if chunk is None or (hasattr(chunk, "__index__") and index(chunk) in CHUNKS):
        return None if chunk is None else index(chunk)
    raise TypeError(f"chunk is one of {', '.join(map(str, CHUNKS))}, not {chunk!r}")


UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _bytes(memory: str | int | None) -> int | None:
    """A budget of memory in bytes."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B|)\s*", f"{memory}", re.IGNORECASE)
    if memory is not None and found is None:
        raise TypeError(f"memory is a number of bytes or a string like '2 GB', not {memory!r}")
    return None if found is None else int(float(found[1]) * UNITS[found[2].upper()])


def _entries(transform: str, name: str, given: Any) -> tuple:
    """One entry for each argument of the function."""
    if not isinstance(given, tuple | list):
        raise TypeError(
            f"{transform}: {name} is a tuple with an entry for each argument of the function, "
            f"not {type(given).__name__}: {transform}(f, (x,), ...)"
        )
    return tuple(given)


# ---- functions among the primals: Numba has no tuple of them -----------------------------------


def _without_functions(f: Any, primals: tuple) -> tuple[Any, tuple, tuple[int, ...]]:
    """f with its function arguments filled in, the other arguments, and which they are."""
    kept = tuple(i for i, p in enumerate(primals) if not isinstance(p, Dispatcher))
    if len(kept) == len(primals):
        return f, primals, kept
    given = tuple(None if i in kept else p for i, p in enumerate(primals))
    return _filled(f, given), _chosen(primals, kept), kept


@lru_cache(maxsize=256)
def _filled(f: Any, given: tuple) -> Callable:
    """f(*args) with the arguments in `given` that are not None put in their places."""
    names = {f"a{i}": g for i, g in enumerate(given)}
    free = ", ".join(n for n, g in names.items() if g is None)
    name = getattr(f, "__name__", "f")
    text = f"def {name}({free}): return f({', '.join(names)})"
    known: dict[str, Any] = {"f": f, **{n: g for n, g in names.items() if g is not None}}
    exec(text, known)
    return known[name]


def _chosen(values: tuple, kept: tuple[int, ...]) -> tuple:
    return tuple(values[i] for i in kept if i < len(values))


def _spread(values: tuple, kept: tuple[int, ...], n: int) -> tuple:
    """The values at the places `kept` of n, None elsewhere."""
    by_place = dict(zip(kept, values))
    return tuple(by_place.get(i) for i in range(n))


# ---- the transforms ----------------------------------------------------------------------------


def grad(
    f: Callable,
    argnums: Argnums = 0,
    has_aux: bool = False,
    out: bool = False,
    memory: str | int | None = None,
    **options: Any,
) -> Derivative:
    """∂f/∂x for a scalar f, by one forward and one reverse sweep.

    Returns a function with f's signature. Its result has the structure, shape and dtype of argument
    `argnums`; with a tuple of argnums it is a tuple in that order; negative ones count from the
    end. With `has_aux`, f returns (value, aux) and the result is (gradient, aux). f's effects on
    its arguments happen as if f had been called; the derivative is with respect to the contents on
    entry.

    With `out`, the derivative takes one more argument, the last: an array like the gradient (of one
    element for a scalar, a tuple for several), which is overwritten with it and saves handing over
    a new one. What is left of the result is returned: None, or aux.

    With `memory` ("2 GB", or bytes) what is kept for the reverse sweep takes about so much at most:
    if on entry more would be needed, the outermost loops run as if marked with `nf.checkpoint`,
    with as many slots as fit. There are two versions of the code then, which compile longer.
    Without it the second is compiled by the first call from Python that would keep more than a
    quarter of the machine's memory; a call from compiled code raises MemoryError then.

    Raises TypeError if f's output is not a floating point scalar (use `jacrev` or `vjp`) or an
    argument is not floating point; `UnsupportedError` for a construct that has no derivative here.

    >>> import numbaflux as nf
    >>> df = nf.grad(lambda x: 3 * x**2 + 2 * x + 1)
    >>> df(2)
    14.0
    >>> nf.grad(df)(2)
    6.0
    """
    transform = OfArguments("grad", _argnums(argnums), has_aux, out=out, memory=_bytes(memory))
    return derivative(transform, f, **options)


def value_and_grad(
    f: Callable,
    argnums: Argnums = 0,
    has_aux: bool = False,
    out: bool = False,
    memory: str | int | None = None,
    **options: Any,
) -> Derivative:
    """(f(x), ∂f/∂x) of a scalar f, for the price of the gradient.

    With `has_aux`: ((value, aux), gradient). Otherwise like `grad`; with `out` the gradient is
    written and the rest returned.

    >>> import numbaflux as nf
    >>> nf.value_and_grad(lambda x: x**3)(2.0)
    (8.0, 12.0)
    """
    limit = _bytes(memory)
    transform = OfArguments("value_and_grad", _argnums(argnums), has_aux, out=out, memory=limit)
    return derivative(transform, f, **options)


def jacfwd(
    f: Callable, argnums: Argnums = 0, chunk: int | None = None, **options: Any
) -> Derivative:
    """The Jacobian ∂f/∂x of shape out.shape + x.shape, by a forward run for every chunk of x.

    For no more inputs than a few times the outputs. A run carries the tangents of `chunk` elements
    of x (a power of two, 16 unless given) in the lanes of vector registers.

    >>> import numpy as np, numbaflux as nf
    >>> nf.jacfwd(lambda x: np.array([x, x**2, x**3]))(2.0)
    array([ 1.,  4., 12.])
    """
    return derivative(OfArguments("jacfwd", _argnums(argnums), chunk=_chunk(chunk)), f, **options)


def jacrev(f: Callable, argnums: Argnums = 0, **options: Any) -> Derivative:
    """The Jacobian ∂f/∂x of shape out.shape + x.shape, by one reverse sweep an output.

    For many inputs and few outputs; f itself runs once.

    >>> import numpy as np, numbaflux as nf
    >>> nf.jacrev(lambda x: np.array([x[0] * x[1], x[1]]))(np.array([2.0, 5.0]))
    array([[5., 2.],
           [0., 1.]])
    """
    return derivative(OfArguments("jacrev", _argnums(argnums)), f, **options)


def jacobian(
    f: Callable, argnums: Argnums = 0, chunk: int | None = None, **options: Any
) -> Derivative:
    """The Jacobian, by the cheaper of `jacfwd` and `jacrev`.

    Priced in runs of f, by what is known when code is generated: a chunk of 16 columns in forward
    mode costs 3.7, reverse mode costs 1 and 1 more a row. An unknown length counts as 16.
    """
    return derivative(OfArguments("jacobian", _argnums(argnums), chunk=_chunk(chunk)), f, **options)


def hessian(
    f: Callable, argnums: Argnums = 0, chunk: int | None = None, **options: Any
) -> Derivative:
    """∂²f/∂x² of a scalar f, of shape x.shape + x.shape: forward mode over reverse mode.

    `chunk`: rows a run, as in `jacfwd`.

    >>> import numpy as np, numbaflux as nf
    >>> nf.hessian(lambda x: x[0] ** 2 * x[1])(np.array([3.0, 5.0]))
    array([[10.,  6.],
           [ 6.,  0.]])
    """
    return derivative(OfArguments("hessian", _argnums(argnums), chunk=_chunk(chunk)), f, **options)


def jvp(f: Callable, primals: tuple, tangents: tuple) -> tuple:
    """(f(x), ∂f/∂x · v): the directional derivative, by one forward run.

    `primals` and `tangents` are tuples with an entry for each argument of f; the tangent of a
    constant argument is None (or 0).

    >>> import numbaflux as nf
    >>> nf.jvp(lambda x, n: x**n, (2.0, 3), (1.0, None))
    (8.0, 12.0)
    """
    tangents = _entries("jvp", "tangents", tangents)
    f, numbers, kept = _without_functions(f, _entries("jvp", "primals", primals))
    return derivative(OfPairs("jvp"), f)(numbers, _chosen(tangents, kept))


def vjp(f: Callable, primals: tuple, cotangents: Any) -> tuple:
    """(f(x), wᵀ · ∂f/∂x): cotangents of the output pulled back to the arguments.

    `cotangents` is structured like f's output. The second result is a tuple with an entry for each
    argument, None where it is not floating point.

    >>> import numbaflux as nf
    >>> nf.vjp(lambda x, n: x**n, (2.0, 3), 10.0)
    (8.0, (120.0, None))
    """
    f, numbers, kept = _without_functions(f, _entries("vjp", "primals", primals))
    out, cts = derivative(OfPairs("vjp"), f)(numbers, cotangents)
    return out, _spread(cts, kept, len(primals))


def hvp(f: Callable, primals: tuple, tangents: tuple) -> tuple:
    """∂²f/∂x² · v of a scalar f, without the Hessian: forward mode over reverse mode.

    A tuple with an entry for each argument of f, None for a constant one.

    >>> import numpy as np, numbaflux as nf
    >>> nf.hvp(lambda x: x[0] ** 2 * x[1], (np.array([3.0, 5.0]),), (np.array([1.0, 0.0]),))
    (array([10.,  6.]),)
    """
    tangents = _entries("hvp", "tangents", tangents)
    f, numbers, kept = _without_functions(f, _entries("hvp", "primals", primals))
    cts = derivative(OfPairs("hvp"), f)(numbers, _chosen(tangents, kept))
    return _spread(cts, kept, len(primals))


def adjoint(f: Callable, **options: Any) -> Derivative:
    """Reverse mode in place, for hot loops: adds into the shadows and allocates no result.

    The derivative is called like f, with nf.Dup(x, dx) for each argument that has a shadow and
    plain values for constants. The shadow of an array is an array like it: on entry the cotangent
    of its final contents, on exit that of its contents on entry. The shadow of a scalar is an array
    of one element. If f returns a scalar, its cotangent is 1 and the value is returned.

    >>> import numpy as np, numbaflux as nf
    >>> def f(x, y):
    ...     for i in range(len(x)):
    ...         y[i] = x[i] ** 2
    >>> x, dx, y, dy = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2), np.ones(2)
    >>> nf.adjoint(f)(nf.Dup(x, dx), nf.Dup(y, dy))
    >>> dx, dy
    (array([2., 4.]), array([0., 0.]))
    """
    return derivative(InPlace("adjoint"), f, **options)


def tangent(f: Callable, **options: Any) -> Derivative:
    """Forward mode in place: the shadow of every array is updated along with it.

    The derivative is called like f, with nf.Dup(x, dx) for each argument that has a tangent. A
    scalar result comes back as nf.Dup(value, tangent).

    >>> import numbaflux as nf
    >>> nf.tangent(lambda x, n: x**n)(nf.Dup(2.0, 1.0), 3)
    Dup(primal=8.0, shadow=12.0)
    """
    return derivative(InPlace("tangent"), f, **options)


for _name, _transform in (
    ("grad", grad),
    ("value_and_grad", value_and_grad),
    ("jacfwd", jacfwd),
    ("jacrev", jacrev),
    ("jacobian", jacobian),
    ("hessian", hessian),
    ("adjoint", adjoint),
    ("tangent", tangent),
):
    register_transform(_transform, _transform)
for _name, _call in (("jvp", jvp), ("vjp", vjp), ("hvp", hvp)):
    register_call(_call, lambda f, name=_name: derivative(OfPairs(name), f))
