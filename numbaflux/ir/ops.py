"""The primitives: what each is called, how it is written, what it computes.

One line an op.  `form` is the Python that the writer prints, with `{0}`, `{1}` for its arguments;
an infix form has a `level`, Python's operator precedence, so that brackets are printed only where
they are needed.  `value` is the same thing on NumPy scalars, for the interpreter.  Which op a
Python callable means is the front end's business; its derivative is in `rules/`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special


@dataclass(frozen=True, slots=True)
class Op:
    name: str
    form: str
    value: Callable[..., Any]
    level: int = 100  # of the printed form: 100 is a call, never bracketed
    pure: bool = True  # may be dropped, repeated, moved
    writes: int | None = None  # the argument that is an array and written


OPS: dict[str, Op] = {}
ROUTINES: dict[str, Op] = {}


def _op(name: str, form: str, value: Callable[..., Any], level: int = 100) -> None:
    OPS[name] = Op(name, form, value, level)


def _routine(name: str, form: str, value: Callable[..., Any], pure: bool = True) -> None:
    ROUTINES[name] = Op(name, form, value, 100, pure)


# Arithmetic.  Division is IEEE's: the check that Python makes is a Raise before it.
_op("add", "{0} + {1}", lambda x, y: x + y, 60)
_op("sub", "{0} - {1}", lambda x, y: x - y, 60)
_op("mul", "{0} * {1}", lambda x, y: x * y, 70)
_op("gmul", "runtime.gmul({0}, {1})", lambda x, y: x * y if x != 0 else x)  # 0 * inf is 0
_op("div", "{0} / {1}", np.divide, 70)
_op("floordiv", "{0} // {1}", np.floor_divide, 70)
_op("mod", "{0} % {1}", np.remainder, 70)
_op("neg", "-{0}", lambda x: -x, 80)
_op("pow", "{0} ** {1}", np.power, 90)
_op("ipow", "{0} ** {1}", lambda x, n: type(x)(x ** int(n)), 90)  # x ** n, n an integer
_op("abs", "abs({0})", abs)
_op("min", "min({0}, {1})", lambda x, y: y if y < x else x)
_op("max", "max({0}, {1})", lambda x, y: y if y > x else x)
_op("minimum", "np.minimum({0}, {1})", np.minimum)  # nan if either is
_op("maximum", "np.maximum({0}, {1})", np.maximum)
_op("fmin", "np.fmin({0}, {1})", np.fmin)  # the other one if one is nan
_op("fmax", "np.fmax({0}, {1})", np.fmax)
_op("fmod", "np.fmod({0}, {1})", np.fmod)  # Numba has no math.fmod
_op("copysign", "math.copysign({0}, {1})", np.copysign)
_op("sign", "np.sign({0})", np.sign)
_op("stop_gradient", "{0}", lambda x: x)

# Integers as bits.
_op("bitand", "{0} & {1}", lambda x, y: x & y, 50)
_op("bitor", "{0} | {1}", lambda x, y: x | y, 40)
_op("bitxor", "{0} ^ {1}", lambda x, y: x ^ y, 45)
_op("lshift", "{0} << {1}", lambda x, y: x << y, 55)
_op("rshift", "{0} >> {1}", lambda x, y: x >> y, 55)
_op("invert", "~{0}", lambda x: ~x, 80)
_op("popc", "runtime.popc({0})", lambda x: np.uint64(int(x).bit_count()))  # of a uint64, all four
_op("clz", "runtime.clz({0})", lambda x: np.uint64(64 - int(x).bit_length()))
_op("ffs", "runtime.ffs({0})", lambda x: np.uint64((int(x) & -int(x)).bit_length()))
_op("brev", "runtime.brev({0})", lambda x: np.uint64(int(f"{int(x):064b}"[::-1], 2)))

# A number that the compiler is not to know.
_op("veiled", "runtime.veiled({0})", lambda n: n)

# Truth.
_op("eq", "{0} == {1}", lambda x, y: x == y, 30)
_op("ne", "{0} != {1}", lambda x, y: x != y, 30)
_op("lt", "{0} < {1}", lambda x, y: x < y, 30)
_op("le", "{0} <= {1}", lambda x, y: x <= y, 30)
_op("gt", "{0} > {1}", lambda x, y: x > y, 30)
_op("ge", "{0} >= {1}", lambda x, y: x >= y, 30)
_op("not", "not {0}", lambda x: not x, 25)
_op("and", "{0} and {1}", lambda x, y: x and y, 20)  # of booleans; both are evaluated
_op("or", "{0} or {1}", lambda x, y: x or y, 15)
_op("isnan", "math.isnan({0})", np.isnan)
_op("isinf", "math.isinf({0})", np.isinf)
_op("isfinite", "math.isfinite({0})", np.isfinite)
_op("select", "({1} if {0} else {2})", lambda c, x, y: x if c else y)
_op("cast", "{type}({0})", lambda x: x)  # to the result's type

# Lanes. note [Lanes] in nodes.py
_op("unit", "lanes.unit({0}, {lanes})", lambda i: i)  # a one in that lane
_op("lane", "lanes.lane({0}, {1})", lambda x, i: x[i])

# Rounding.
_op("floor", "np.floor({0})", np.floor)
_op("ceil", "np.ceil({0})", np.ceil)
_op("trunc", "np.trunc({0})", np.trunc)
_op("rint", "np.rint({0})", np.rint)

# Elementary functions.
_op("sqrt", "math.sqrt({0})", np.sqrt)
_op("cbrt", "np.cbrt({0})", np.cbrt)
_op("exp", "math.exp({0})", np.exp)
_op("exp2", "np.exp2({0})", np.exp2)
_op("expm1", "math.expm1({0})", np.expm1)
_op("log", "math.log({0})", np.log)
_op("log2", "np.log2({0})", np.log2)
_op("log10", "math.log10({0})", np.log10)
_op("log1p", "math.log1p({0})", np.log1p)
_op("sin", "math.sin({0})", np.sin)
_op("cos", "math.cos({0})", np.cos)
_op("tan", "math.tan({0})", np.tan)
_op("asin", "math.asin({0})", np.arcsin)
_op("acos", "math.acos({0})", np.arccos)
_op("atan", "math.atan({0})", np.arctan)
_op("atan2", "math.atan2({0}, {1})", np.arctan2)
_op("sinh", "math.sinh({0})", np.sinh)
_op("cosh", "math.cosh({0})", np.cosh)
_op("tanh", "math.tanh({0})", np.tanh)
_op("asinh", "math.asinh({0})", np.arcsinh)
_op("acosh", "math.acosh({0})", np.arccosh)
_op("atanh", "math.atanh({0})", np.arctanh)
_op("hypot", "math.hypot({0}, {1})", np.hypot)
_op("erf", "math.erf({0})", special.erf)
_op("erfc", "math.erfc({0})", special.erfc)
_op("gamma", "math.gamma({0})", special.gamma)
_op("lgamma", "math.lgamma({0})", special.gammaln)
_op("digamma", "runtime.digamma({0})", special.digamma)
_op("polygamma", "runtime.polygamma({0}, {1})", special.polygamma)

_op("sigmoid", "vecmath.sigmoid({0})", special.expit)
_op("softplus", "vecmath.softplus({0})", lambda x: np.logaddexp(x, type(x)(0)))

# Which thread of a kernel runs. note [Threads] in nodes.py
THREADS: dict[str, str] = {}
for _n, _axis in enumerate("xyz"):
    THREADS |= {
        f"thread_{_axis}": f"cuda.threadIdx.{_axis}",
        f"block_{_axis}": f"cuda.blockIdx.{_axis}",
        f"block_dim_{_axis}": f"cuda.blockDim.{_axis}",
        f"grid_dim_{_axis}": f"cuda.gridDim.{_axis}",
        f"grid_{_axis}": f"cuda.grid({_n + 1})" + (f"[{_n}]" if _n else ""),
        f"grid_size_{_axis}": f"cuda.gridsize({_n + 1})" + (f"[{_n}]" if _n else ""),
    }
THREADS["warp_lane"] = "cuda.laneid"
THREADS["dynamic_bytes"] = "dynamic_bytes"  # of shared memory, chosen by the launch
for _name, _form in THREADS.items():
    _op(_name, _form, lambda: np.int64(0))
WARP = 32  # threads
SHARED = ("shared", "dynamic")  # spaces of arrays that the threads of a block share
ATOMICS = (
    "add", "sub", "max", "min", "nanmax", "nanmin", "exch", "and", "or", "xor", "inc", "dec", "cas",
)  # fmt: skip
EXTREMA = ("max", "min", "nanmax", "nanmin")
SHUFFLES = ("down", "up", "xor", "idx")

# Routines without a derivative.
_routine("argsort", "np.argsort({0}, kind='mergesort')", lambda x: np.argsort(x, kind="stable"))
_routine("argsort_quick", "np.argsort({0})", np.argsort)
_routine("searchsorted_left", "np.searchsorted({0}, {1})", np.searchsorted)
_routine(
    "searchsorted_right",
    "np.searchsorted({0}, {1}, side='right')",
    lambda a, v: np.searchsorted(a, v, side="right"),
)
_routine(
    "same_array",
    "runtime.same_array({0}, {1})",
    lambda x, y: (x.ctypes.data, x.shape, x.strides) == (y.ctypes.data, y.shape, y.strides),
)
_routine("overlap", "runtime.overlap({0}, {1})", np.may_share_memory)


def _stride(blocks: int, slots: int) -> np.int64:
    """Griewank and Walther, algorithm 799: where to take the next of `slots` snapshots."""
    sweeps = next(r for r in range(blocks + 1) if math.comb(slots + r, slots) >= blocks)
    before = math.comb(slots + sweeps - 2, slots) if sweeps > 1 else 0
    step = max(1, before, blocks - math.comb(slots - 1 + sweeps, slots - 1))
    return np.int64(min(step if slots > 1 else blocks, blocks - 1))


_routine("stride", "runtime.stride({0}, {1})", lambda n, slots: _stride(int(n), int(slots)))
_routine("afford", "afford({0})", lambda size: (), False)  # or else: budget.py
VOTES = ("sync_count", "sync_and", "sync_or", "warp_all", "warp_any", "warp_ballot")
for _kind in ("count", "and", "or"):  # over the threads of a block, which wait for each other
    _routine(f"sync_{_kind}", f"cuda.syncthreads_{_kind}({{0}})", lambda p: p, False)
for _kind in ("all", "any", "ballot"):  # over the threads of a warp
    _routine(f"warp_{_kind}", f"cuda.{_kind}_sync(0xFFFFFFFF, {{0}})", lambda p: p, False)
VOTES = {f"sync_{_k}" for _k in ("count", "and", "or")} | {
    f"warp_{_k}" for _k in ("all", "any", "ballot")
}
_routine("recorded", "recorded({0})", lambda x: x)  # an element as it was once: launches.py
_routine("threads", "numba.get_num_threads()", lambda: np.int64(3))
_routine("same_string", "{0} == {1}", lambda a, b: a == b)


# Lanes taken apart: so many from one on into as many elements from a place on.
def _put(value: np.ndarray, array: np.ndarray, place: int, first: int, count: int) -> tuple:
    if count > 0:
        array[place : place + count] = value[first : first + count]
    return ()


ROUTINES["put"] = Op("put", "lanes.put({0}, {1}, {2}, {3}, {4})", _put, pure=False, writes=1)

# An access that is watched (watch.py): the watch, the array, its index, the number of the access in
# the program, the thread in its block, the number of the block's first thread.
WATCHES: dict[str, str] = {}  # each with the function that it calls
MOST_AXES = 8
for _kind in ("axis", "inside", "read", "write", "atomic"):
    for _rank in range(MOST_AXES + 1):
        _place = "".join(f"{{{2 + _n}}}, " for _n in range(_rank)).rstrip(
            " " if _rank == 1 else ", "
        )
        _rest = ", ".join(f"{{{2 + _rank + _n}}}" for _n in range(3))
        WATCHES[f"watch_{_kind}_{_rank}"] = f"watch.{_kind}"
        _form = f"watch.{_kind}({{0}}, {{1}}, ({_place}), {_rest})"
        _routine(f"watch_{_kind}_{_rank}", _form, lambda *args: (), False)

# Primitives that cost as much as a dozen others.
EXPENSIVE = {
    "pow", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin",
    "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "hypot", "cbrt",
    "erf", "erfc", "gamma", "lgamma", "digamma", "polygamma", "sigmoid", "softplus",
}  # fmt: skip

# The same over vectors: what they are called where a loop can compute several at once.
VECTOR = {
    name: f"vec_{name}"
    for name in (
        "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "erf",
    )
}  # fmt: skip
for _name, _twin in VECTOR.items():
    _op(_twin, f"vecmath.{_name}({{0}})", OPS[_name].value)
VECTOR |= {"pow": "vec_pow", "sigmoid": "sigmoid", "softplus": "softplus"}
_op("vec_pow", "vecmath.pow({0}, {1})", np.power)
PLAIN = {twin: name for name, twin in VECTOR.items() if twin != name}
EXPENSIVE |= set(PLAIN)

# Random draws: NumPy's state, then Python's own, which Numba keeps apart.
_python = np.random.RandomState()
_routine("random", "np.random.random()", np.random.random, False)
_routine("standard_normal", "np.random.standard_normal()", np.random.standard_normal, False)
_routine(
    "standard_exponential",
    "np.random.standard_exponential()",
    np.random.standard_exponential,
    False,
)
_routine("randint", "np.random.randint({0}, {1})", np.random.randint, False)
_routine("permutation", "np.random.permutation({0})", np.random.permutation, False)
_routine("seed", "np.random.seed({0})", lambda n: np.random.seed(n) or (), False)
_routine("py_random", "random.random()", _python.random_sample, False)
_routine("py_normal", "random.gauss(0.0, 1.0)", _python.standard_normal, False)
_routine("py_exponential", "random.expovariate(1.0)", _python.standard_exponential, False)
_routine("py_randrange", "random.randrange({0}, {1})", _python.randint, False)
_routine("py_seed", "random.seed({0})", lambda n: _python.seed(n) or (), False)
