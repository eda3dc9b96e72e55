"""The machine code of kernels and their derivatives, against a table that is checked in.

After a change that is meant to change it: `python -m benchmarks.cuda_static --update`, and with
`--mlir` for numba-cuda-mlir's, and look at the difference.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from numba import float32, float64, int64

import numbaflux as nf
from benchmarks.cuda_static import FORMS, TABLES, kept, kernels, measured, worse
from numbaflux.cuda.device import NoCudaError
from numbaflux.cuda.launch import Launch
from numbaflux.cuda.report import analysed
from numbaflux.cuda.static import analyse, opcodes, tool
from tests.cuda.kernels import KERNELS
from tests.cuda.mlir import of_mlir

GOOD = {
    "registers": 20, "stack": 0, "spills": 0, "shared": 0, "instructions": 100, "reductions": 0,
    "atomics": 0, "shared_atomics": 0, "loops": 0, "local": 0, "float64": 0, "barriers": 0,
}  # fmt: skip


def missing(compiler: str) -> str:
    """Which tool there is not."""
    if find_spec(compiler) is None:
        return compiler.replace("_", "-")
    try:
        tool("ptxas"), tool("nvdisasm")
    except NoCudaError as error:
        return str(error).splitlines()[0]
    return ""


COMPILERS = [
    pytest.param(c, marks=pytest.mark.skipif(bool(missing(c)), reason=f"needs {missing(c)}"))
    for c in TABLES
]
compilers = pytest.mark.parametrize("compiler", COMPILERS)


def module(name: str, compiler: str) -> Any:
    """A module of kernels, of a compiler."""
    return import_module(name) if compiler == "numba_cuda" else of_mlir(name)


@compilers
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [case.name for case in KERNELS])
def test_table(name, form, compiler):
    """No new spill, no float64 in float32 code, no new loop of compare and swap, no growth."""
    before = kept(compiler)[name][form]
    now = measured(next(c for c in kernels(compiler) if c.name == name), form)
    assert worse(before, now) == []
    assert isinstance(now, str) or now["float64"] == 0


# ---- what is compiled only ---------------------------------------------------------------------


@compilers
def test_an_ensemble_of_nets(compiler):
    """Nothing is added atomically to what a member has for itself."""
    found = module("numbaflux.demo.ensemble", compiler)
    vector, matrix = float64[::1], float64[:, ::1]
    nets, losses = nf.Dup(matrix, matrix), nf.Dup(vector, vector)
    forward = analysed(nf.cuda.launch(found.losses)[4, 32], matrix, matrix, vector)
    reverse = analysed(nf.cuda.adjoint(found.losses)[4, 32], nets, matrix, losses)
    step = analysed(nf.cuda.launch(found.improve)[4, 32], vector, vector, matrix, int64)
    for numbers in (forward, reverse, step):
        assert numbers.reductions == numbers.atomics == numbers.loops == 0


@compilers
def test_layers(compiler):
    found = module("tests.cuda.test_nets", compiler)
    vector, matrix = float32[::1], float32[:, ::1]
    given = nf.Dup(matrix, matrix), matrix, matrix, nf.Dup(vector, vector)
    assert analysed(nf.cuda.adjoint(found.layers)[4, 32], *given).reductions == 0


@compilers
@pytest.mark.parametrize("number", [float32, float64], ids=str)
def test_who_has_the_extreme_takes_the_cotangent(number, compiler):
    """Neither compiler exchanges floats: their bits are."""
    given = nf.Dup(number[::1], number[::1]), nf.Dup(number[:, ::1], number[:, ::1])
    vjp = nf.cuda.vjp(module("tests.cuda.test_device", compiler).emptied)
    known = Launch.of((2, 16)).known()
    backward = vjp.executor.prepared(vjp.recorded(given, known).backward, known)
    numbers = analyse(backward.compiled)
    assert (numbers.atomics, numbers.loops) == (1, 0)


@compilers
def test_bits_and_rounding(compiler):
    found = module("tests.cuda.test_device", compiler)
    vector = nf.Dup(float32[::1], float32[::1])
    numbers = analysed(nf.cuda.tangent(found.bits)[2, 32], vector, vector)
    assert numbers.float64 == 0


# ---- the comparison ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"spills": 4}, {"float64": 1}, {"loops": 1}, {"local": 2}, {"registers": 29},
               {"instructions": 111}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_is_worse_is_found(change):
    assert len(worse(GOOD, GOOD | change)) == 1
    assert worse(GOOD | change, GOOD) == []


def test_small_growth_is_not_worse():
    assert worse(GOOD, GOOD | {"registers": 28, "instructions": 110}) == []


def test_a_kernel_that_was_supported_is_not_refused():
    assert worse(GOOD, "UnsupportedError")
    assert worse("UnsupportedError", "UnsupportedError") == []
    assert worse("UnsupportedError", GOOD) == []


def test_opcodes():
    listing = """
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 EXIT ;
        /*0020*/             @!UP0 UIADD3 UR4, -UR4, URZ, URZ ;
        /*0030*/                   NOP ;
        /*0040*/                   RED.E.ADD.F32.FTZ.RN.STRONG.GPU [R2.64], R5 ;
    """
    assert list(opcodes(listing)) == ["LDC", "EXIT", "UIADD3", "RED.E.ADD.F32.FTZ.RN.STRONG.GPU"]
