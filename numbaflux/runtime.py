"""What generated code calls: growing buffers, aliasing, special functions, matrix products.

Plain njit functions, so the generated source also runs, slowly, without Numba.
"""

from __future__ import annotations

import ctypes
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, overload, type_callable

FEW = 200  # products: so small matrices are multiplied by loops, which beat BLAS's call
LONGEST = 2**31 - 1  # BLAS counts in int32
ASYMPTOTIC = 15.0  # from here on the series of digamma and polygamma are exact to a few ulp

# B_2, B_4, ..., B_24: the Bernoulli numbers.
BERNOULLI = np.array(
    [
        1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510,
        43867 / 798, -174611 / 330, 854513 / 138, -236364091 / 2730,
    ]
)  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def gmul(x, y):
    """x * y, but 0 * y is 0 even where y is infinite or nan."""
    return x * y if x != 0 else x


# ---- loops -------------------------------------------------------------------------------------


def veiled(n):
    """n, which LLVM does not know even if it is a constant: a loop of so many trips stays one."""
    return n


@type_callable(veiled)
def _type_veiled(context: Any) -> Any:
    return lambda n: types.int64 if isinstance(n, types.Integer) else None


@lower_builtin(veiled, types.Integer)
def _lower_veiled(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    word = ir.IntType(64)
    n = context.cast(builder, args[0], sig.args[0], types.int64)
    return builder.asm(ir.FunctionType(word, [word]), "", "=r,0", [n], side_effect=False)


# ---- memory ------------------------------------------------------------------------------------


def machines_memory() -> int:
    """How many bytes this process may have: the machine's, or what its container leaves it."""
    found = []
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", ()):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # not there, or "max"
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found, default=2**36)


LIMIT = ctypes.c_int64(machines_memory() // 4)  # of what a gradient keeps unless it has a budget
SYMBOL = "numbaflux_limit"  # by name, so that code kept on disk finds that of its own process
llvm.add_symbol(SYMBOL, ctypes.addressof(LIMIT))


def limit():
    """How many bytes a gradient without a budget may keep for its reverse sweep."""
    return LIMIT.value


@type_callable(limit)
def _type_limit(context: Any) -> Any:
    return lambda: types.int64


@lower_builtin(limit)
def _lower_limit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    made = builder.module.globals.get(SYMBOL)
    return builder.load(made or ir.GlobalVariable(builder.module, ir.IntType(64), SYMBOL))


# ---- bits --------------------------------------------------------------------------------------


@numba.njit(cache=True)
def popc(x):
    """How many bits of a uint64 are set."""
    x = np.uint64(x)
    count = np.uint64(0)
    while x != 0:
        x &= x - np.uint64(1)
        count += np.uint64(1)
    return count


@numba.njit(cache=True)
def clz(x):
    """How many bits of a uint64 are zero before the first that is set."""
    x = np.uint64(x)
    count = np.uint64(64)
    while x != 0:
        x >>= np.uint64(1)
        count -= np.uint64(1)
    return count


@numba.njit(cache=True)
def ffs(x):
    """The number, from 1, of the lowest bit of a uint64 that is set; 0 if none is."""
    x = np.uint64(x)
    return np.uint64(64) - clz(x & (~x + np.uint64(1)))


@numba.njit(cache=True)
def brev(x):
    """A uint64 with its bits in the opposite order."""
    x = np.uint64(x)
    turned = np.uint64(0)
    for _ in range(64):
        turned = turned << np.uint64(1) | x & np.uint64(1)
        x >>= np.uint64(1)
    return turned


# ---- arrays ------------------------------------------------------------------------------------


@numba.njit(cache=True)
def grow(buffer, index):
    """`buffer` if it has a place `index`, else a copy twice as long, or longer, zeroed behind."""
    size = buffer.shape[0]
    if index < size:
        return buffer
    longer = np.zeros(max(2 * size, index + 1, 16), dtype=buffer.dtype)
    for k in range(size):
        longer[k] = buffer[k]
    return longer


@numba.njit(cache=True)
def references(like, n):
    """A list for references to arrays of the type of `like`, with n places that nobody reads.

    Not a comprehension: from `[like for _ in range(n)]` Numba 0.68 makes a list through whose items
    stores can be lost (LLVM takes them to be dead).
    """
    made = [like]
    made.clear()
    for _ in range(n):
        made.append(like)
    return made


@numba.njit(cache=True)
def put(references, index, array):
    """references[index] = array; a list that is too short is extended, with what nobody reads."""
    while len(references) <= index:
        references.append(array)
    references[index] = array


@numba.njit(cache=True)
def _extent(array):
    """The addresses from the first byte of an array to the one after its last."""
    low = high = np.int64(array.ctypes.data)
    for axis in range(array.ndim):
        reach = (array.shape[axis] - 1) * array.strides[axis]
        if reach < 0:
            low += reach
        else:
            high += reach
    return low, high + array.itemsize


@numba.njit(cache=True)
def overlap(a, b):
    """Whether the byte ranges of two arrays have a byte in common."""
    if a.size == 0 or b.size == 0:
        return False
    a_low, a_high = _extent(a)
    b_low, b_high = _extent(b)
    return a_low < b_high and b_low < a_high


@numba.njit(cache=True)
def same_array(a, b):
    """Whether two arrays are the same memory in the same order."""
    if a.ctypes.data != b.ctypes.data:
        return False
    for axis in range(a.ndim):
        if a.shape[axis] != b.shape[axis] or a.strides[axis] != b.strides[axis]:
            return False
    return True


@numba.njit(cache=True)
def _multiply(out, a, b):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = out[i, j]
            for k in range(a.shape[1]):
                total += a[i, k] * b[k, j]
            out[i, j] = total


@numba.njit(cache=True)
def gemm(out, a, b):
    """out += a @ b, where out overlaps neither."""
    if out.shape[0] * out.shape[1] * a.shape[1] < FEW:
        _multiply(out, a, b)
    else:
        _add_product(out, a, b)


def _add_product(out, a, b):
    out += a @ b


@overload(_add_product)
def _add_product_by_blas(out, a, b):  # Numba wants no annotations here
    """BLAS sees an array by rows as its transpose by columns: out.T += b.T @ a.T."""
    if "A" in (a.layout, b.layout):

        def packed(out, a, b):
            _add_product(out, np.ascontiguousarray(a), np.ascontiguousarray(b))

        return packed
    if out.layout == "A":

        def apart(out, a, b):
            out += np.dot(a, b)

        return apart
    if out.layout == "F":

        def turned(out, a, b):
            _add_product(out.T, b.T, a.T)

        return turned
    one, blas = _blas_gemm(out.dtype)
    kind = ord("d" if out.dtype == types.float64 else "s")
    by_a, by_b = (ord("n" if t.layout == "C" else "t") for t in (a, b))
    row_a, row_b = (int(t.layout == "C") for t in (a, b))

    def product(out, a, b):
        m, n, k = out.shape[0], out.shape[1], a.shape[1]
        if max(m, n, k) > LONGEST:
            raise ValueError("a dimension too long for BLAS")
        failed = blas(
            kind, by_b, by_a, n, m, k, one.ctypes, b.ctypes, b.shape[row_b],
            a.ctypes, a.shape[row_a], one.ctypes, out.ctypes, n,
        )  # fmt: skip
        if failed:
            raise RuntimeError("BLAS is not there: is scipy installed?")

    return product


def _blas_gemm(element: Any) -> tuple[Any, Any]:
    """1 of this type, and alpha a b + beta out of it, in Numba's own helper library."""
    word, pointer, char = types.intp, types.CPointer(element), types.char
    sizes, a, b, out = (word,) * 3, (pointer, word), (pointer, word), (pointer, word)
    signature = types.intc(char, char, char, *sizes, pointer, *a, *b, pointer, *out)
    one = np.ones(1, np.float64 if element == types.float64 else np.float32)
    return one, types.ExternalFunction("numba_xxgemm", signature)


# ---- checkpoints -------------------------------------------------------------------------------


@numba.njit(cache=True)
def stride(blocks, slots):
    """How far to run from a snapshot before the next is taken, or the last block is reached.

    `blocks` are still to be reversed from the snapshot on, `slots` snapshots may exist, the one
    at hand included.  With s slots, C(s + r, s) blocks can be reversed if none is run more than r
    times (Griewank and Walther, ACM TOMS 26, 2000); any split that leaves both parts within their
    own bounds is optimal, and this is the shortest.
    """
    if slots <= 1:
        return blocks - 1
    slots = min(slots, blocks)
    older, reach, sweeps = 0, 1, 0  # how many blocks for sweeps - 1, for sweeps
    oldest = 0
    while reach < blocks:
        sweeps += 1
        oldest, older, reach = older, reach, reach * (slots + sweeps) // sweeps
    behind = reach - older  # with one slot less
    return min(max(1, oldest, blocks - behind), blocks - 1)


# ---- special functions -------------------------------------------------------------------------


@numba.njit(cache=True, error_model="numpy")
def _cot_pi(x):
    """cot(pi x) by the nearest of its zeros and poles, from which the distance is exact."""
    turn = x - math.floor(x + 0.5)
    if abs(turn) > 0.25:
        return math.copysign(math.tan(math.pi * (0.5 - abs(turn))), turn)
    return 1.0 / math.tan(math.pi * turn)


@numba.njit(cache=True, error_model="numpy")
def _digamma_right(x):
    """digamma(x) for x > 0: upwards by 1/x, then the asymptotic series."""
    total = 0.0
    while x < ASYMPTOTIC:
        total -= 1.0 / x
        x += 1.0
    square = 1.0 / (x * x)
    series = 0.0
    for k in range(len(BERNOULLI), 0, -1):
        series = (series + BERNOULLI[k - 1] / (2 * k)) * square
    return total + (math.log(x) - 0.5 / x - series)


@numba.njit(cache=True, error_model="numpy")
def digamma(x):
    """The derivative of log gamma(x); nan at the poles 0, -1, -2, ..."""
    x = np.float64(x)
    if x > 0.0:
        return _digamma_right(x)
    if x == math.floor(x):
        return math.nan
    return _digamma_right(1.0 - x) - math.pi * _cot_pi(x)


@numba.njit(cache=True, error_model="numpy")
def _polygamma_right(n, x):
    """polygamma(n, x) for n >= 1 and x > 0, without the sign (-1)**(n + 1)."""
    factorial = math.gamma(n + 1.0)
    total = 0.0
    while x < ASYMPTOTIC + n:
        total += factorial * x ** -(n + 1)
        x += 1.0
    square = 1.0 / (x * x)
    term = factorial / n * x**-n  # (2 k + n - 1)! / (2 k)! / x**(2 k + n), here for k = 0
    series = term + 0.5 * factorial * x ** -(n + 1)
    for k in range(1, len(BERNOULLI) + 1):
        term *= (2.0 * k + n - 1.0) * (2.0 * k + n - 2.0) / (2.0 * k * (2.0 * k - 1.0)) * square
        series += BERNOULLI[k - 1] * term
    return total + series


@numba.njit(cache=True, error_model="numpy")
def _cot_derivative(n, x):
    """The n-th derivative of cot(pi x): a polynomial in c = cot(pi x), as c' = -pi (1 + c c)."""
    old = np.zeros(n + 3)
    new = np.zeros(n + 3)
    old[1] = 1.0
    for _ in range(n):
        new[:] = 0.0
        for power in range(1, n + 2):
            new[power - 1] -= math.pi * power * old[power]
            new[power + 1] -= math.pi * power * old[power]
        old[:] = new
    c = _cot_pi(x)
    total = 0.0
    for power in range(n + 2, -1, -1):
        total = total * c + old[power]
    return total


@numba.njit(cache=True, error_model="numpy")
def polygamma(n, x):
    """The n-th derivative of digamma, n a whole number; at a pole the limit, or nan without one."""
    order = int(n)
    x = np.float64(x)
    if order == 0:
        return digamma(x)
    sign = 1.0 if order % 2 == 1 else -1.0
    if x > 0.0:
        return sign * _polygamma_right(order, x)
    if x == math.floor(x):
        return math.inf if order % 2 == 1 else math.nan
    return -_polygamma_right(order, 1.0 - x) - math.pi * _cot_derivative(order, x)
