"""The programs of `python -m benchmarks.parallel`: right, and Numba has nothing to say to them."""

import pytest

import numbaflux as nf
from benchmarks.parallel import CASES, check


@pytest.mark.parametrize("name", CASES)
def test_gradient(name):
    """A loop that Numba would not run on threads is a warning, and so an error."""
    case = CASES[name]
    check(case, nf.grad(case.f, argnums=case.argnums), case.args(case.sizes[0]))
