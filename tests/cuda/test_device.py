"""What is launched on a GPU: the very program that is written, run by the emulator; its text."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from numba import cuda, typeof, types

import numbaflux as nf
from numbaflux.cuda.arguments import type_of
from numbaflux.cuda.device import Gpu
from tests.cuda import pretend
from tests.cuda.kernels import BLOCK, KERNELS, SHOWN
from tests.cuda.pretend import Foreign
from tests.cuda.simulate import HORNER, MIRROR, SIMULATED, arguments, shadows

CASES = (*KERNELS, HORNER, MIRROR)
F32 = types.float32
VECTOR = F32[::1]


@pytest.fixture
def gpu(monkeypatch):
    """The `cuda` of a GPU that is not there."""
    return pretend.install(monkeypatch)


@pytest.mark.parametrize("form", ["tangent", "adjoint"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_written_for_the_launch(case, form, gpu):
    """What is made of a program for one shape of block computes what the program does."""
    derivative = getattr(nf.cuda, form)(case.kernel)
    wanted, found = (arguments(case, form, 300) for _ in range(2))
    nf.cuda.emulate(derivative, check=False)[case.launch(300)](*wanted)  # `gpu` watches
    derivative[case.launch(300)](*found)
    for a, b in zip(shadows(wanted), shadows(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)


def test_simulator():
    """They also run on Numba's simulator, which knows the language that they are written in."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.cuda.simulate"],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("agrees") == 2 * len(SIMULATED) + 3


# ---- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHOWN)
def test_source_of_adjoint(name, golden):
    case = next(c for c in KERNELS if c.name == name)
    given = [
        nf.Dup(t, t if hasattr(t, "ndim") else t[::1]) if i in case.active else t
        for i, t in enumerate(case.types)
    ]
    golden(nf.cuda.source(nf.cuda.adjoint(case.kernel)[case.launch(1 << 16)], *given))


@cuda.jit
def ends(x, y, n):
    i = cuda.grid(1)
    if i < x.shape[0]:
        y[i] = x[i] * x[i - 1] * x[n]
    if i > 0 and i < x.shape[0] - 1:
        y[i + 1] += x[i - 1] * x[x.shape[0] - 1 - i] * x[-1]


def test_a_subscript_that_may_be_negative_stays_signed():
    text = nf.cuda.source(nf.cuda.tangent(ends), nf.Dup(VECTOR, VECTOR), nf.Dup(VECTOR, VECTOR),
                          types.int64)  # fmt: skip
    assert "x[np.uint64(i)]" in text and "x[n]" in text and "x[-1]" in text
    first, second = text.split("if i > 0")
    assert "x[i - 1]" in first and "x[np.uint64(i - 1)]" not in first
    assert "x[np.uint64(i - 1)]" in second and "y[np.uint64(i + 1)]" in second
    mirrored = re.search(r"(\w+) = n_1 - 1 - i\n", second)
    assert mirrored is not None and f"x[np.uint64({mirrored[1]})]" in second


def test_dynamic_arrays_begin_one_after_the_other():
    text = nf.cuda.source(nf.cuda.tangent(MIRROR.kernel)[2, BLOCK, 0, 512], nf.Dup(VECTOR, VECTOR),
                          nf.Dup(VECTOR, VECTOR))  # fmt: skip
    assert "def tangent_mirror(x, d_x, out, d_out, dynamic_bytes):" in text
    assert "(dynamic_bytes + 7 >> 3) * 2" in text
    assert text.count("cuda.shared.array(0, np.float32)") == 2


@cuda.jit(fastmath=True)
def quick(x, y):
    i = cuda.grid(1)
    y[i] = x[i] / y[i]


def test_fastmath_is_taken_over():
    text = nf.cuda.source(nf.cuda.tangent(quick), nf.Dup(VECTOR, VECTOR), nf.Dup(VECTOR, VECTOR))
    assert "@cuda.jit(fastmath=True)" in text


@cuda.jit
def warps(x, y):
    i = cuda.grid(1)
    v = x[i] + cuda.shfl_down_sync(0xFFFFFFFF, x[i], 4)
    if cuda.syncthreads_count(v > 0) > 3 and cuda.any_sync(0xFFFFFFFF, v > 0):
        cuda.syncwarp()
        y[i] = v * cuda.laneid


@cuda.jit
def bits(x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        whole = np.float32(cuda.popc(i) + cuda.clz(i) + cuda.ffs(i) + cuda.brev(np.uint32(i)))
        y[i] = x[i] * whole + np.rint(x[i])


def test_bits(gpu):
    wanted, found = (np.zeros(8, np.float32) for _ in range(2))
    x = np.linspace(-2, 2, 8, dtype=np.float32)
    nf.cuda.emulate(bits, check=False)[1, 32](x, wanted)
    nf.cuda.launch(bits)[1, 32](x, found)
    np.testing.assert_array_equal(found, wanted)
    text = nf.cuda.source(nf.cuda.tangent(bits), nf.Dup(VECTOR, VECTOR), nf.Dup(VECTOR, VECTOR))
    assert "np.uint64(cuda.popc(" in text and "np.float32(math.floor(" in text


@cuda.jit
def emptied(x, y):
    """What the largest was is not to be had again: its thread is told by a mark in the shadow."""
    i = cuda.grid(1)
    if i < x.shape[0]:
        cuda.atomic.max(y, (0, 0), x[i])
        x[i] = 0.0


@pytest.mark.parametrize(
    ("number", "function"), [(np.float32, "int_as_float"), (np.float64, "longlong_as_double")]
)
def test_a_float_is_exchanged_by_its_bits(number, function, gpu, monkeypatch):
    texts, compiled = [], Gpu.compile

    def seen(self, program, known):
        texts.append(compiled(self, program, known))
        return texts[-1]

    monkeypatch.setattr(Gpu, "compile", seen)
    x, y = np.array([1.0, 3.0, 2.0], number), np.zeros((1, 1), number)
    _, pullback = nf.cuda.vjp(emptied)[1, 8](x, y)
    dx = np.zeros(3, number)
    pullback(dx, np.ones((1, 1), number))
    np.testing.assert_array_equal(dx, [0.0, 1.0, 0.0])
    integer = f"np.int{8 * x.itemsize}"
    exchanged = f"cuda.atomic.exch(d_y.view({integer}), (0, 0), {integer}(0))"
    assert f"taken = cuda.libdevice.{function}({exchanged})" in texts[-1].text


def test_warps():
    text = nf.cuda.source(nf.cuda.adjoint(warps), nf.Dup(VECTOR, VECTOR), nf.Dup(VECTOR, VECTOR))
    assert "cuda.shfl_up_sync(0xFFFFFFFF, " in text
    assert "cuda.syncthreads_count(np.int32(" in text
    assert "cuda.any_sync(0xFFFFFFFF, " in text


@cuda.jit
def sorted_rows(x, y):
    i = cuda.grid(1)
    y[i] = x[np.searchsorted(x, y[i])]


def test_what_has_no_form_on_a_gpu_is_refused_with_its_line():
    with pytest.raises(nf.UnsupportedError, match=r"searchsorted.* in a kernel\n.*test_device.py"):
        nf.cuda.source(nf.cuda.tangent(sorted_rows), nf.Dup(VECTOR, VECTOR), VECTOR)


# ---- launching ---------------------------------------------------------------------------------


@pytest.mark.skipif(cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_error_names_the_emulator():
    case, x = KERNELS[0], np.zeros(8, np.float32)
    with pytest.raises(nf.cuda.NoCudaError, match=r"numbaflux\.cuda\.emulate"):
        nf.cuda.adjoint(case.kernel)[1, 32](
            np.float32(1), nf.Dup(x, x.copy()), nf.Dup(x.copy(), x.copy())
        )


@pytest.mark.parametrize(
    "array", [np.zeros(4, np.float32), np.zeros((3, 4)), np.zeros((4, 3)).T, np.zeros((4, 4))[::2]]
)
def test_type_of_an_array_on_the_device(array):
    assert type_of(Foreign(array)) == typeof(array)
    assert type_of(Foreign(array, writable=False)).mutable is False
    assert type_of(nf.Dup(Foreign(array), array)) == typeof(nf.Dup(array, array))


# ---- report ------------------------------------------------------------------------------------


def test_report_says_why(capsys):
    case = next(c for c in KERNELS if c.name == "gather")
    args = arguments(case, "adjoint", 256)
    found = nf.cuda.report(nf.cuda.adjoint(case.kernel)[2, BLOCK], *args)
    assert [v.plain for v in found.verdicts] == [False]
    assert found.tape == 0
    printed = capsys.readouterr().out
    assert "d_x += ...  atomic" in printed and "v = x[index[i]]" in printed


@cuda.jit
def repeated(x, y):
    i = cuda.grid(1)
    v = x[i]
    for _ in range(y.shape[1]):
        v = v * v + x[i]
    y[i, 0] = v


def test_report_counts_the_tape():
    x, y = np.ones(256, np.float32), np.ones((256, 5), np.float32)
    adjoint = nf.cuda.adjoint(repeated)
    found = nf.cuda.report(adjoint[2, BLOCK], nf.Dup(x, x.copy()), nf.Dup(y, y.copy()))
    assert found.tape == 5 * 256 * 4  # v before each of 5 trips, in 256 threads
    matrix = F32[:, ::1]
    of_types = nf.cuda.report(adjoint[2, BLOCK], nf.Dup(VECTOR, VECTOR), nf.Dup(matrix, matrix))
    assert of_types.tape is None


def test_deterministic():
    saxpy, gather = (next(c for c in KERNELS if c.name == n) for n in ("saxpy", "gather"))
    nf.cuda.source(nf.cuda.adjoint(saxpy.kernel, deterministic=True), F32, nf.Dup(VECTOR, VECTOR),
                   nf.Dup(VECTOR, VECTOR))  # fmt: skip
    with pytest.raises(nf.UnsupportedError, match=r"atomic addition to `d_x`"):
        nf.cuda.source(
            nf.cuda.adjoint(gather.kernel, deterministic=True),
            nf.Dup(VECTOR, VECTOR), types.int32[::1], nf.Dup(VECTOR, VECTOR),
        )  # fmt: skip
