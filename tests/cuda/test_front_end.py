"""How kernels are read: the names of `cuda`, and what is refused, with the line and a way out."""

import inspect
import math

import numpy as np
import pytest
from numba import cuda, float32, njit
from numba.cuda import cg, libdevice
from numba.cuda import random as cuda_random
from scipy import special

from numbaflux import UnsupportedError
from numbaflux.cuda import emulate

FULL = 0xFFFFFFFF


# ---- functions of numbers ------------------------------------------------------------------------


@cuda.jit
def bits(x, y, out):
    i = cuda.grid(1)
    out[0, i] = cuda.popc(x[i])
    out[1, i] = cuda.clz(x[i])
    out[2, i] = cuda.ffs(x[i])
    out[3, i] = libdevice.popcll(y[i])
    out[4, i] = libdevice.clzll(y[i])
    out[5, i] = cuda.ffs(y[i])


@cuda.jit
def reversed_bits(x, y, small, large):
    i = cuda.grid(1)
    small[i] = cuda.brev(x[i])
    large[i] = cuda.brev(y[i])


def test_bits():
    x = np.array([0, 1, -1, 40, -(2**31), 2**31 - 1, 12345], np.int32)
    y = np.array([0, 1, -1, 40, -(2**63), 2**63 - 1, -(2**33)], np.int64)
    out = np.zeros((6, 7), np.int64)
    emulate(bits)[1, 7](x, y, out)
    rows = [(int(v) & 0xFFFFFFFF, 32) for v in x], [(int(v) & (2**64 - 1), 64) for v in y]
    for k, row in enumerate(rows):
        assert out[3 * k].tolist() == [v.bit_count() for v, _ in row]
        assert out[3 * k + 1].tolist() == [w - v.bit_length() for v, w in row]
        assert out[3 * k + 2].tolist() == [(v & -v).bit_length() for v, _ in row]
    small, large = np.zeros(7, np.uint32), np.zeros(7, np.uint64)
    emulate(reversed_bits)[1, 7](x.view(np.uint32), y.view(np.uint64), small, large)
    assert small.tolist() == [int(f"{v:032b}"[::-1], 2) for v, _ in rows[0]]
    assert large.tolist() == [int(f"{v:064b}"[::-1], 2) for v, _ in rows[1]]


@cuda.jit
def chosen(x, out):
    i = cuda.grid(1)
    out[0, i] = cuda.selp(x[i] > 0, x[i], 7)
    out[1, i] = cuda.fma(x[i], x[i], x[i])
    out[2, i] = cuda.cbrt(x[i])


def test_selp_fma_cbrt():
    x = np.linspace(-2.0, 2.0, 8)
    out = np.zeros((3, 8))
    emulate(chosen)[1, 8](x, out)
    np.testing.assert_allclose(out, [np.where(x > 0, x, 7), x * x + x, np.cbrt(x)], rtol=1e-14)


ONE = {
    "acos": np.arccos, "asin": np.arcsin, "atan": np.arctan, "atanh": np.arctanh,
    "asinh": np.arcsinh, "cbrt": np.cbrt, "ceil": np.ceil, "cos": np.cos, "cosh": np.cosh,
    "cospi": lambda x: np.cos(np.pi * x), "erf": special.erf, "erfc": special.erfc, "exp": np.exp,
    "exp10": lambda x: 10.0**x, "exp2": np.exp2, "expm1": np.expm1, "fabs": np.abs,
    "floor": np.floor, "log1p": np.log1p, "nearbyint": np.rint, "normcdf": special.ndtr,
    "rint": np.rint, "sin": np.sin, "sinh": np.sinh, "sinpi": lambda x: np.sin(np.pi * x),
    "tan": np.tan, "tanh": np.tanh, "trunc": np.trunc,
    "round": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    "rcbrt": lambda x: 1 / np.cbrt(x),
}  # fmt: skip
POSITIVE = {
    "log": np.log, "log2": np.log2, "log10": np.log10, "rsqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt, "lgamma": special.gammaln, "tgamma": special.gamma,
}  # fmt: skip
TWO = {
    "atan2": np.arctan2, "copysign": np.copysign, "fdim": lambda x, y: np.maximum(x - y, 0),
    "fmax": np.fmax, "fmin": np.fmin, "fmod": np.fmod, "hypot": np.hypot,
    "pow": lambda x, y: np.abs(x) ** y,
}  # fmt: skip
FAST = ("sin", "cos", "tan", "exp", "exp10", "log", "log2", "log10")


def all_of(names, arity, positive=()):
    """A kernel that computes a row of `out` for each of libdevice's functions."""
    lines = ["def kernel(x, y, out):", "    i = cuda.grid(1)"]
    for row, name in enumerate(names):
        first = "abs(x[i])" if name.removesuffix("f") in positive else "x[i]"
        given = first if arity == 1 else f"{first}, y[i]"
        lines.append(f"    out[{row}, i] = libdevice.{name}({given})")
    space = {"cuda": cuda, "libdevice": libdevice}
    exec("\n".join(lines), space)
    return space["kernel"]


@pytest.mark.parametrize(("suffix", "dtype", "rtol"), [("", "f8", 1e-13), ("f", "f4", 2e-5)])
def test_libdevice(suffix, dtype, rtol):
    x = np.array([-0.9, -0.5, -0.1, 0.2, 0.5, 0.7], dtype)
    y = np.array([0.3, -0.4, 2.0, -1.5, 0.5, 0.1], dtype)
    known = {**ONE, **POSITIVE}
    out = np.zeros((len(known), 6), dtype)
    kernel = all_of([n + suffix for n in known], 1, POSITIVE)
    emulate(kernel, check=False)[1, 6](x, y, out)
    for row, (name, f) in enumerate(known.items()):
        given = np.abs(x) if name in POSITIVE else x
        np.testing.assert_allclose(out[row], f(given), rtol=rtol, atol=rtol, err_msg=name)
    out = np.zeros((len(TWO), 6), dtype)
    emulate(all_of([n + suffix for n in TWO], 2, ["pow"]), check=False)[1, 6](x, y, out)
    for row, (name, f) in enumerate(TWO.items()):
        np.testing.assert_allclose(out[row], f(x, y), rtol=rtol, atol=rtol, err_msg=name)


def test_fast_functions():
    x = np.array([0.1, 0.5, 1.5], np.float32)
    out = np.zeros((len(FAST), 3), np.float32)
    emulate(all_of([f"fast_{n}f" for n in FAST], 1), check=False)[1, 3](x, x.copy(), out)
    for row, name in enumerate(FAST):
        np.testing.assert_allclose(out[row], {**ONE, **POSITIVE}[name](x), rtol=1e-5, err_msg=name)


@cuda.jit
def other_functions(x, k, out):
    i = cuda.grid(1)
    out[0, i], out[1, i] = libdevice.sincosf(x[i])
    out[2, i] = libdevice.fast_fdividef(libdevice.fast_powf(x[i], 2.0), 4.0)
    out[3, i] = libdevice.saturatef(3 * x[i])
    out[4, i] = libdevice.ldexpf(x[i], k[i])
    out[5, i] = libdevice.powif(x[i], k[i])
    out[6, i] = libdevice.float2int_rz(10 * x[i]) + libdevice.max(k[i], 1)
    out[7, i] = libdevice.int2float_rn(k[i]) + libdevice.isnanf(x[i])
    out[8, i] = libdevice.fmaf(x[i], x[i], libdevice.frcp_rn(x[i]))


def test_other_functions_of_libdevice():
    x, k = np.array([0.25, 0.4, 1.2], np.float32), np.array([0, 3, -2], np.int32)
    out = np.zeros((9, 3))
    emulate(other_functions)[1, 3](x, k, out)
    x = x.astype(float)
    expected = [
        np.sin(x), np.cos(x), x**2 / 4, np.clip(3 * x, 0, 1), x * 2.0**k, x**k,
        np.trunc(10 * x) + np.maximum(k, 1), k, x**2 + 1 / x,
    ]  # fmt: skip
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)


# ---- random numbers ------------------------------------------------------------------------------

DRAWS = [
    f"xoroshiro128p_{kind}_float{width}" for kind in ("uniform", "normal") for width in (32, 64)
]


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_random_numbers(name):
    draw = getattr(cuda_random, name)

    def kernel(states, out):
        i = cuda.grid(1)
        for k in range(out.shape[1]):
            out[i, k] = draw(states, i)

    @njit
    def expected(states, out):
        for i in range(out.shape[0]):
            for k in range(out.shape[1]):
                out[i, k] = draw(states, i)

    states = np.empty(4, cuda_random.xoroshiro128p_dtype)
    cuda_random.init_xoroshiro128p_states_cpu(states, 7, 0)
    after = states.copy()
    found, wanted = np.zeros((4, 6)), np.zeros((4, 6))
    emulate(kernel)[2, 2](states, found)
    expected(after, wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-6 if "normal" in name else 0)
    assert states.tobytes() == after.tobytes()


def test_random_numbers_through_the_module():
    @cuda.jit
    def kernel(states, out):
        i = cuda.grid(1)
        out[i] = cuda.random.xoroshiro128p_next(states, i)

    states = np.array([(1, 2), (3, 4)], cuda_random.xoroshiro128p_dtype)
    out = np.zeros(2, np.uint64)
    emulate(kernel)[1, 2](states, out)
    assert out.tolist() == [3, 7]


# ---- what is refused -----------------------------------------------------------------------------


@cuda.jit
def computed_shape(x):
    n = x.shape[0]
    sh = cuda.shared.array(n, float32)  # here
    sh[0] = x[0]


@cuda.jit
def computed_local_shape(x):
    own = cuda.local.array(x.shape[0], float32)  # here
    own[0] = x[0]


@cuda.jit
def type_by_name(x):
    sh = cuda.shared.array(4, "float32")  # here
    sh[0] = x[0]


@cuda.jit
def part_of_a_warp(x):
    x[0] = cuda.shfl_down_sync(0xFFFF, x[0], 1)  # here


@cuda.jit
def vote_of_a_part(x):
    x[0] = cuda.ballot_sync(0xFFFF, x[0] > 0)  # here


@cuda.jit
def barrier_of_a_part(x):
    cuda.syncwarp(0xFFFF)  # here


@cuda.jit
def active_threads(x):
    x[0] = cuda.activemask()  # here


def returns(x):  # here
    return x[0]


@cuda.jit
def grid_barrier(x):
    group = cg.this_grid()  # here
    group.sync()


@cuda.jit
def grid_barrier_by_module(x):
    group = cuda.cg.this_grid()  # here
    group.sync()


@cuda.jit
def unknown_vote(x):
    x[0] = cuda.match_any_sync(FULL, 3)  # here


@cuda.jit
def unknown_function(x):
    x[0] = libdevice.erfcxf(x[0])  # here


@cuda.jit
def unknown_function_by_module(x):
    x[0] = cuda.libdevice.j0f(x[0])  # here


@cuda.jit
def half_precision(x):
    x[0] = cuda.fp16.hsin(x[0])  # here


@cuda.jit
def short_vectors(x):
    v = cuda.float32x2(1.0, 2.0)  # here
    x[0] = v.x


@cuda.jit
def host_functions(x):
    cuda.synchronize()  # here


@cuda.jit
def computed_axes(x):
    x[0] = cuda.grid(x.shape[0])  # here


@cuda.jit
def bits_of_a_float(x):
    x[0] = cuda.popc(x[0])  # here


@cuda.jit
def no_value(x):
    cuda.atomic.add(x, 0)  # here


@cuda.jit
def floats_compared(x):
    cuda.atomic.cas(x, 0, 1.0, 2.0)  # here


@cuda.jit
def atomic_on_a_slice(x):
    cuda.atomic.add(x, slice(0, 2), 1.0)  # here


@cuda.jit
def complex_numbers(x):
    z = 1j * x[0]  # here
    x[0] = z.real


@cuda.jit
def exceptions(x):
    try:
        x[0] = 1
    except ZeroDivisionError:  # here
        x[0] = 2


@cuda.jit(device=True)
def waits(x, n):
    cuda.syncthreads()  # here
    if n > 0:
        waits(x, n - 1)


@cuda.jit
def recursive_barrier(x):
    waits(x, 3)


REFUSED = (
    (computed_shape, "shared array of a computed shape", "constants of the module"),
    (computed_local_shape, "local array of a computed shape", "constants of the module"),
    (type_by_name, "the dtype is a type of numbers", "cuda-reference"),
    (part_of_a_warp, "a shuffle of a part of the warp", "full mask"),
    (vote_of_a_part, "a vote of a part of the warp", "full mask"),
    (barrier_of_a_part, "a barrier of a part of the warp", "full mask"),
    (active_threads, "`cuda.activemask`", "docs/cuda.md"),
    (returns, "the kernel `returns` returns a value", "write it into an array"),
    (grid_barrier, "`cuda.cg.this_grid`", "launch one kernel for each part"),
    (grid_barrier_by_module, "`cuda.cg`", "launch one kernel for each part"),
    (unknown_vote, "`cuda.match_any_sync`", "docs/cuda.md"),
    (unknown_function, "`cuda.libdevice.erfcxf`", "arithmetic"),
    (unknown_function_by_module, "`cuda.libdevice.j0f`", "arithmetic"),
    (half_precision, "`cuda.fp16`", "float32"),
    (short_vectors, "`cuda.float32x2`", "docs/cuda.md"),
    (host_functions, "`cuda.synchronize`", "docs/cuda.md"),
    (computed_axes, "`cuda.grid`.*the number of dimensions is 1, 2 or 3", "cuda-reference"),
    (bits_of_a_float, "`cuda.popc`.*the argument is an integer", "cuda-reference"),
    (no_value, "`cuda.atomic.add`", "cuda-reference"),
    (floats_compared, "`cuda.atomic.cas`.*integers, not float64", "cuda-reference"),
    (atomic_on_a_slice, "an atomic operation on more than one element", "one integer"),
    (complex_numbers, "a complex number", "two floats"),
    (exceptions, "`try`/`except`", "test first"),
    (recursive_barrier, "in `waits`, which calls itself", "outside of it"),
)


def here(f):
    """The line of a function that ends in `# here`."""
    text, start = inspect.getsourcelines(getattr(f, "py_func", f))
    return next(n for n, line in enumerate(text, start) if line.rstrip().endswith("# here"))


@pytest.mark.parametrize(("kernel", "what", "instead"), REFUSED)
def test_refused(kernel, what, instead):
    with pytest.raises(UnsupportedError, match=what) as found:
        emulate(kernel)[1, 1](np.ones(4))
    error = found.value
    marked = waits if kernel is recursive_barrier else kernel
    assert (error.loc.file, error.loc.line) == (__file__, here(marked))
    assert instead in error.instead


def test_strings_are_refused():
    def kernel(x, mode):
        if mode == "double":
            x[0] *= 2

    with pytest.raises(UnsupportedError, match="`mode`") as found:
        emulate(kernel)[1, 1](np.ones(1), "double")
    assert (found.value.loc.file, found.value.loc.line) == (
        __file__,
        kernel.__code__.co_firstlineno,
    )


# ---- what calls itself ---------------------------------------------------------------------------


@cuda.jit(device=True)
def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)


def test_a_function_of_numbers_may_call_itself():
    def kernel(out):
        i = cuda.grid(1)
        out[i] = factorial(i)

    out = np.zeros(6)
    emulate(kernel)[1, 6](out)
    assert out.tolist() == [math.factorial(n) for n in range(6)]
