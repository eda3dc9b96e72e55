"""The machine code of kernels and their derivatives, against a table that is checked in.

After a change that is meant to change it: `python -m benchmarks.cuda_static --update`, and look at
the difference.
"""

import json
from importlib.util import find_spec

import pytest

from benchmarks.cuda_static import FORMS, TABLE, measured, worse
from numbaflux.cuda.device import NoCudaError
from numbaflux.cuda.static import opcodes, tool
from tests.cuda.kernels import KERNELS

GOOD = {
    "registers": 20, "stack": 0, "spills": 0, "shared": 0, "instructions": 100, "reductions": 0,
    "atomics": 0, "shared_atomics": 0, "loops": 0, "local": 0, "float64": 0, "barriers": 0,
}  # fmt: skip


def missing() -> str:
    """Which tool there is not."""
    if find_spec("numba_cuda") is None:
        return "numba-cuda"
    try:
        tool("ptxas"), tool("nvdisasm")
    except NoCudaError as error:
        return str(error).splitlines()[0]
    return ""


needs_tools = pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")


@needs_tools
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case.name)
def test_table(case, form):
    """No new spill, no float64 in float32 code, no new loop of compare and swap, no growth."""
    before = json.loads(TABLE.read_text("utf-8"))[case.name][form]
    now = measured(case, form)
    assert worse(before, now) == []
    assert isinstance(now, str) or now["float64"] == 0


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
