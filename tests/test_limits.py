"""What is not differentiated is refused by name, at its line, before any code is written.

Each program marks the line at fault with `# here`; without a mark it is the line of its `def`.
`docs/limitations.md` shows what to write instead.
"""

import ctypes
import ctypes.util
import inspect
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba import njit, typed

import numbaflux as nf

VECTOR, MATRIX = np.array([1.0, 2.0, 3.0]), np.eye(3) + 1.0
RECORDS = np.ones(3, dtype=[("a", float), ("b", float)])
sine_in_c = ctypes.CDLL(ctypes.util.find_library("m") or "msvcrt").sin
sine_in_c.argtypes, sine_in_c.restype = [ctypes.c_double], ctypes.c_double


class Case(NamedTuple):
    """A program, what it is called with, and how the error names the construct."""

    f: Callable[..., Any]
    args: tuple[Any, ...]
    what: str
    transform: Callable[..., Any]


CASES: list[Case] = []


def refused(what: str, *args: Any, transform: Callable[..., Any] = nf.grad) -> Callable:
    """Decorate a program that is refused because of `what`."""

    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append(Case(f, args, what, transform))
        return f

    return enter


def line_at_fault(f: Callable[..., Any]) -> int:
    lines, first = inspect.getsourcelines(f)
    marked = [at for at, line in enumerate(lines) if "# here" in line]
    heads = [at for at, line in enumerate(lines) if "def " in line]
    return first + (marked or heads)[0]


# ---- control -----------------------------------------------------------------------------------


@refused("`try`/`except`", 1.0)
def tries(x):
    try:
        y = math.sqrt(x)  # here
    except Exception:
        y = 0.0
    return y


@refused("a generator", 1.0)
def generates(x):
    y = 2.0 * x
    yield y  # here


@refused("an `async` function", 1.0)
async def waits(x):
    return x


@refused("`with objmode`", 1.0)
def interpreted(x):
    with numba.objmode(y="float64"):  # here
        y = math.sin(x)
    return 2.0 * y


@refused("a `range` of a floating point number", 1.0)
def float_range(x):
    s = 0.0
    for _ in range(x):  # here
        s += x
    return s


@refused("an iterator that several loops share", VECTOR)
def shared_iterator(x):
    s = 0.0
    it = iter(range(4))
    for i in it:  # here
        s += x[0] * i
        if i > 1:
            break
    for i in it:
        s += i
    return s


@refused("the recursion of `returns_arrays`, which returns an array", VECTOR, transform=nf.jacrev)
def returns_arrays(x):
    if len(x) == 1:
        return x.copy()
    return 2.0 * returns_arrays(x[1:])  # here


@refused("reverse mode of `walks`, which calls itself and has an effect (`random`)", 3.0)
def walks(x):
    if x < 1.0:
        return x
    return math.sin(walks(x - 1.0)) * np.random.random()  # here


@njit
def odd(x):
    return 1.0 if x < 0 else even(x - 1) * odd(x - 2)  # here


@njit
def even(x):
    return x if x < 0 else even(x - 2) + odd(x - 1)


@refused("`pair` changes its kind from one trip of a loop to the next", VECTOR)
def changes_kind(x):
    pair = [x[0]]
    for i in range(1, 3):
        pair = [x[i - 1], x[i]]  # here
    return pair[0]


@refused("`iter`", VECTOR)
def iterators(x):
    it = iter(x)  # here
    return next(it)


# ---- containers --------------------------------------------------------------------------------


@refused("a dict", 1.0)
def dicts(x):
    d = {1: x}  # here
    return d[1]


@refused("a dict", 1.0)
def string_keys(x):
    d = {"a": x, "b": 2}  # here
    return d["a"]


@refused("a set", 1.0)
def sets(x):
    s = {1, 2}  # here
    return x * len(s)


@refused("a typed list", 1.0)
def typed_lists(x):
    items = typed.List()  # here
    items.append(x)
    return items[0]


@refused("`pop` from the middle of a list", VECTOR)
def pops_first(x):
    items = [x[0], x[1], x[2]]
    return items.pop(0)  # here


@refused("a store into a slice of a list", VECTOR)
def stores_slice(x):
    items = [v * v for v in x]
    items[0:2] = [1.0, 2.0]  # here
    return items[2]


@refused("the statement `del", VECTOR)
def deletes(x):
    items = [x[0], x[1]]
    del items[0]  # here
    return items[0]


@refused("the method `insert` of a list", VECTOR)
def inserts(x):
    items = [x[0], x[1]]
    items.insert(0, x[2])  # here
    return items[0]


@refused("a record of a structured array", RECORDS)
def records(r):
    return r[0].a * 2.0


@refused("`bool`", VECTOR)
def truth_of_a_tuple(x):
    t = (x[0], x[1])
    if t:  # here
        return x[0]
    return x[1]


# ---- numbers and strings -----------------------------------------------------------------------


@refused("a complex number", 1.0)
def complex_numbers(x):
    z = x + 1j  # here
    return z.real


@refused("a complex number", VECTOR.astype(complex))
def complex_argument(z):
    return z[0].real


@refused("float16", VECTOR)
def half(x):
    return x[0] * np.float16(2.0)  # here


@refused("an array of [unichr x 1]", VECTOR, np.array(["a", "b"]))
def array_of_strings(x, names):
    return x[0]


@refused("an index that is a slice<a:b>", VECTOR, slice(0, 1))
def slice_argument(x, s):
    return x[s][0]  # here


@refused("the method `upper` of a unicode_type", VECTOR, "abc")
def string_method(x, s):
    t = s.upper()  # here
    return x[0] if t == "ABC" else x[1]


@refused("the length of a unicode_type", VECTOR, "abc")
def string_length(x, s):
    return x[0] * len(s)  # here


@refused("a loop over a unicode_type", VECTOR, "abc")
def string_loop(x, s):
    y = x[0]
    for _ in s:  # here
        y *= 2.0
    return y


@refused("an item of a unicode_type", VECTOR, "abc")
def string_item(x, s):
    return x[0] if s[0] == "a" else x[1]  # here


@refused("`add` of a unicode_type", VECTOR, "abc")
def string_sum(x, s):
    t = s + "a"  # here
    return x[0] if t == "abca" else x[1]


@refused("print(*args)", VECTOR)
def print_star(x):
    t = (x[0], 2.0)
    print(*t)  # here
    return x[0]


@refused("print of a tuple of 2", VECTOR)
def print_tuple(x):
    t = (x[0], 2.0)
    print(t)  # here
    return x[0]


# ---- arrays ------------------------------------------------------------------------------------


@refused("`np.linalg.solve`", MATRIX)
def no_rule(x):
    return np.linalg.solve(x, x)[0, 0]  # here


@refused("`np.sort` of 2 dimensions", MATRIX)
def sorts_rows(x):
    return np.sort(x)[0, 0]  # here


@refused("`np.linalg.norm` of a matrix with order 2", MATRIX)
def spectral_norm(x):
    return np.linalg.norm(x, 2)  # here


@refused("`np.linalg.norm` with a computed order", VECTOR, 2)
def computed_order(x, n):
    return np.linalg.norm(x, n)  # here


@refused("`np.sum` with a computed axis", MATRIX, 1)
def computed_axis(x, n):
    return np.sum(x, axis=n)[0]  # here


@refused("`np.sum` over axis 2", MATRIX)
def no_such_axis(x):
    return np.sum(x, axis=2)[0]  # here


@refused("`np.where` of a condition alone", VECTOR)
def where_alone(x):
    return x[np.where(x > 0.0)[0][0]]  # here


@refused("`np.cross` of many vectors", MATRIX)
def many_cross_products(x):
    return np.cross(x, x)[0, 0]  # here


@refused("`np.tril` of 3 dimensions", np.ones((2, 2, 2)))
def triangle(x):
    return np.tril(x)[0, 0, 0]  # here


@refused("`np.kron` of a vector and a matrix", VECTOR)
def kron(x):
    return np.kron(x, np.ones((3, 3)))[0, 0]  # here


@refused("`np.trapezoid` over many rows", MATRIX)
def trapezoid(x):
    return np.trapezoid(x)[0]  # here


@refused("`.reshape` of an array of layout F", np.asfortranarray(MATRIX))
def reshape_fortran(x):
    return x.reshape(9)[0]  # here


@refused("the attribute `strides` of array(float64, 1d, C)", VECTOR)
def strides(x):
    return x[0] * x.strides[0]  # here


@refused("the method `view` of an array float64[:]", VECTOR)
def reinterpreted(x):
    return x.view(np.int64)[0] * 1.0  # here


# ---- functions ---------------------------------------------------------------------------------


@refused("`sin`", 1.0)
def calls_c(x):
    return sine_in_c(x)  # here


@refused("the method `random` of a NumPyRandomGeneratorType", 1.0, np.random.default_rng(0))
def generator_object(x, rng):
    return x * rng.random()  # here


@refused("a range as a result", VECTOR, transform=nf.jacrev)
def returns_range(x):
    return range(3)


@refused("jacfwd of a function with an effect (`random`)", VECTOR, transform=nf.jacfwd)
def draws(x):
    return x * np.random.random()  # here


# ---- what Numba does not compile ---------------------------------------------------------------


@refused("the name `missing` is not defined", 1.0)
def undefined_name(x):
    y = 2.0 * x
    return y * missing  # noqa: F821  # here


@refused("an `import` inside the function", 1.0)
def imports(x):
    import math as m  # here

    return m.sin(x)


@refused("reshape() supports contiguous array only", VECTOR)
def reshape_strided(x):
    return x[::2].reshape(2, 1)[0, 0]  # here


@refused("a call that Numba does not know: `vstack(array(float64, 2d, C))`", MATRIX)
def numba_does_not_know(x):
    return np.vstack(x)[0, 0]  # here


# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.f.__name__)
def test_refused_at_its_line(case):
    with pytest.raises(nf.UnsupportedError) as caught:
        case.transform(case.f)(*case.args)
    error, line = caught.value, line_at_fault(case.f)
    assert case.what in error.what
    assert (error.loc.file, error.loc.line) == (__file__, line)
    source = inspect.getsource(inspect.getmodule(case.f)).splitlines()[line - 1]
    head, where, shown, why, instead = str(error).splitlines()
    assert head == error.what
    assert where.endswith(f"test_limits.py:{line} in {case.f.__name__}")
    assert shown == f"    {line:4} | {source.rstrip()}"
    assert re.fullmatch(r"  why      \S.*", why)
    assert re.fullmatch(r"  instead  \S.*", instead)


def test_entangled_recursion():
    """Each calls itself and the other."""
    with pytest.raises(nf.UnsupportedError, match="the recursion of `even`") as caught:
        nf.grad(lambda x: x + odd(x))(3.0)
    assert caught.value.loc.line == line_at_fault(odd.py_func)


def test_an_argument_that_may_be_none():
    slope = nf.grad(lambda z: 1.0 if z is None else z * z)

    @njit
    def calls(x):
        y = x if x > 0 else None
        return slope(y)

    with pytest.raises(nf.UnsupportedError, match="`z` that may be None or float64"):
        calls(1.0)


def test_forward_mode_through_a_reverse_rule():
    @nf.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda kept, ct: (min(max(ct, -1.0), 1.0),))
    with pytest.raises(nf.UnsupportedError, match="forward mode through `clipped`") as caught:
        nf.jvp(lambda x: clipped(2.0 * x), (1.0,), (1.0,))
    assert caught.value.loc.line == line_at_fault(clipped.py_func)


def test_the_programs_are_refused_when_called_too():
    """A helper's line is shown, not that of the function that calls it."""

    def calls(x):
        return 2.0 * dicts(x)

    with pytest.raises(nf.UnsupportedError, match="a dict") as caught:
        nf.grad(calls)(1.0)
    assert caught.value.loc.line == line_at_fault(dicts)
