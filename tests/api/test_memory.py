"""What the allocator keeps, in processes of their own: it is for good."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
import numbaflux as nf


def faults(n):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        np.empty(n).fill(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


n = 8_000_000
faults(n)
given_back = faults(n)
kept = nf.keep_memory()
faults(n)
print(kept, given_back, faults(n))
"""

MANY = """
import resource
import numpy as np
import numbaflux


def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [np.full(125_000, 1.0) for _ in range(20)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


faults(), faults()
print(faults())
"""


def run(program):
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_many_arrays_are_not_faulted_in_again():
    assert int(run(MANY)) < 100


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_arrays_are_not_faulted_in_again():
    kept, before, after = run(PROGRAM).split()
    if kept == "False":
        pytest.skip("this C library has no mallopt")
    assert int(before) > 100
    assert int(after) < int(before) / 10
