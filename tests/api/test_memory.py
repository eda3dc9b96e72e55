"""keep_memory, in a process of its own: it is for good."""

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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_arrays_are_not_faulted_in_again():
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    ).stdout
    kept, before, after = out.split()
    if kept == "False":
        pytest.skip("this C library has no mallopt")
    assert int(before) > 100
    assert int(after) < int(before) / 10
