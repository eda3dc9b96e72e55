"""Random programs: forward mode, reverse mode and differences agree, and so does compiled code.

    pytest tests/fuzz -n auto --fuzz-count 10000 --fuzz-seed 1

tries ten thousand others. Most are only read and interpreted, every SECOND-th to second order;
every COMPILED-th goes through the public functions.  A failure shrinks to a small program, whose
source is printed, to go into `tests/programs/found.py`.
"""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from numba import njit, typeof

from numbaflux.api.public import derivative
from numbaflux.api.transforms import OfPairs
from tests import trees
from tests.frontend.reading import run
from tests.fuzz.checks import check_function, check_interpreted, close
from tests.fuzz.generator import arguments, build, generate
from tests.programs import found

BATCH = 24
SECOND, COMPILED = 6, 8
LARGEST, LARGEST_COMPILED = 14, 8
SEEDS = st.integers(0, 2**32 - 1)
ACTIVE = (0, 1, 2, 3)


def pytest_generate_tests(metafunc):
    if "batch" in metafunc.fixturenames:
        first = metafunc.config.getoption("--fuzz-seed") * 10**6
        count = metafunc.config.getoption("--fuzz-count")
        metafunc.parametrize("batch", range(first, first + max(1, count // BATCH)))


def random_programs(batch, count, largest, check):
    """Run check(source, number, single) on `count` programs; one that fails shrinks."""

    def on_program(number, size, single):
        source = generate(number, size, single)
        note(source)
        check(source, number, np.float32 if single else np.float64)

    quick = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    sizes, single = st.integers(1, largest), st.sampled_from((False, False, False, True))
    seed(batch)(quick(given(SEEDS, sizes, single)(on_program)))()


def test_first_order(batch):
    random_programs(batch, BATCH, LARGEST, check_interpreted)


def test_second_order(batch):
    def check(source, number, dtype):
        check_interpreted(source, number, dtype, order=2)

    random_programs(batch, BATCH // SECOND, LARGEST_COMPILED, check)


def test_compiled(batch):
    """What compiled code computes is what the interpreter says, to second order."""

    def check(source, number, dtype):
        f, args = build(source), arguments(number, dtype)
        tangents = trees.tangents(args, ACTIVE, number)
        for name, more in (("jvp", tangents), ("vjp", dtype(0.7)), ("hvp", tangents)):
            compiled = derivative(OfPairs(name), f)
            program = compiled.numbaflux_program((typeof(args), typeof(more)))
            ours, theirs = trees.copy((args, more)), trees.copy((args, more))
            expected, found = run(program, ours), compiled(*theirs)
            close([found, theirs], [expected, ours], 1e-11 if dtype is np.float64 else 1e-4)

    random_programs(batch, BATCH // COMPILED, LARGEST_COMPILED, check)


@pytest.mark.parametrize("p", found.PROGRAMS, ids=str)
def test_found_before(p):
    check_function(p.f, p.args, order=2)


def test_generated_programs_are_numba_programs():
    for number in range(4):
        source = generate(number, LARGEST)
        f, args, python_args = build(source), arguments(number), arguments(number)
        value = njit(f)(*args)
        assert math.isfinite(value), source
        close([value, *args], [f(*python_args), *python_args], 1e-11)


def test_most_differences_are_trusted():
    trusted = [check_interpreted(generate(n, 8), n, np.float64) for n in range(10)]
    assert sum(trusted) >= 8


def test_a_seed_is_a_program_and_size_matters():
    assert generate(5, 8) == generate(5, 8) != generate(6, 8)
    lengths = [sum(generate(s, n).count("\n") for s in range(50)) for n in (1, 4, LARGEST)]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize(
    "part",
    ["while ", "for ", "break", "continue", "return ", "else:", "elif ", " += ", "[::2]", ".T[",
     "x, y = y, x", "np.where", "enumerate(", "spread(", "h0(", "[::-1]", "[1:] =", "zip(",
     "split(", "axis=0", "axis=1", "blend(", "] > ", "[:, None]", "np.argsort",
     ".ravel()", "x = x if"],
)  # fmt: skip
def test_the_generator_reaches(part):
    assert any(part in generate(number, LARGEST) for number in range(200))
