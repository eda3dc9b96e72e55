"""Random programs: forward mode, reverse mode and differences must agree.

`pytest tests/fuzz --fuzz-count 10000 -n auto` tries ten thousand; a failure shrinks to a small one
and prints as source, to go into `tests/programs/`.
"""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from numba import njit

import numbaflux as nf
from tests import trees
from tests.fuzz.generator import arguments, build, generate

BATCH = 10
LARGEST = 14
SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, LARGEST)
ACTIVE = (0, 1, 2, 3)


def pytest_generate_tests(metafunc):
    if "batch" in metafunc.fixturenames:
        count = metafunc.config.getoption("--fuzz-count")
        metafunc.parametrize("batch", range(-(-count // BATCH)))


def random_programs(batch, check):
    """Run check(seed, size) on a batch of programs, and shrink a failure."""
    quick = settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    seed(batch)(quick(given(SEEDS, SIZES)(check)))()


def trusted_differences(f, args, tangents):
    """(derivative, whether to trust it): two steps agree, so no kink and no chaos is near."""
    coarse = trees.differences(f, args, tangents, 1e-3)
    fine = trees.differences(f, args, tangents, 3e-4)
    return fine, bool(np.allclose(coarse, fine, rtol=1e-7, atol=1e-8))


@pytest.mark.parametrize("first", range(0, 60, 15))
def test_generated_programs_are_numba_programs(first):
    trusted = 0
    for number in range(first, first + 15):
        source = generate(number, 1 + number % LARGEST)
        f = build(source)
        args, python_args = arguments(number), arguments(number)
        compiled = njit(f)
        value = compiled(*args)
        assert math.isfinite(value), source
        assert value == pytest.approx(f(*python_args), rel=1e-11, abs=1e-12), source
        for written, expected in zip(args, python_args):
            np.testing.assert_allclose(written, expected, rtol=1e-11, atol=1e-12, err_msg=source)
        args = arguments(number)
        tangents = trees.tangents(args, ACTIVE, number)
        trusted += trusted_differences(compiled, args, tangents)[1]
    assert trusted >= 12


def test_a_seed_is_a_program_and_size_matters():
    assert generate(5, 8) == generate(5, 8) != generate(6, 8)
    lengths = [sum(generate(s, n).count("\n") for s in range(50)) for n in (1, 4, LARGEST)]
    assert lengths == sorted(lengths)


def test_the_generator_reaches_every_construct():
    text = "\n".join(generate(number, LARGEST) for number in range(200))
    wanted = ["while ", "for ", "break", "continue", "return ", "else:", "elif ", " += ", "[::2]"]
    wanted += ["x, y = y, x", ".T[", "np.where", "enumerate(", "spread(", "h0(", "[::-1]", "[1:] ="]
    assert [part for part in wanted if part not in text] == []


def check_derivatives(number, size):
    source = generate(number, size)
    note(source)
    f = build(source)
    args, forward_args, reverse_args = (arguments(number) for _ in range(3))
    tangents = trees.tangents(args, ACTIVE, number)
    value = njit(f)(*args)

    out, tangent = nf.jvp(f, forward_args, trees.copy(tangents))
    again, cotangents = nf.vjp(f, reverse_args, 1.0)
    assert out == pytest.approx(value, rel=1e-11, abs=1e-12)
    assert again == pytest.approx(value, rel=1e-11, abs=1e-12)
    for i in ACTIVE[:3]:
        np.testing.assert_allclose(forward_args[i], args[i], rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(reverse_args[i], args[i], rtol=1e-11, atol=1e-12)

    terms = np.concatenate(
        [trees.vector(cotangents[i]) * trees.vector(tangents[i]) for i in ACTIVE]
    )
    slack = 1e-11 * (np.abs(terms).sum() + abs(tangent)) + 1e-13
    assert abs(tangent - math.fsum(terms)) <= slack
    approximate, trusted = trusted_differences(njit(f), arguments(number), tangents)
    if trusted:
        assert tangent == pytest.approx(float(approximate[0]), rel=1e-6, abs=1e-7)


def test_derivatives(batch):
    random_programs(batch, check_derivatives)
