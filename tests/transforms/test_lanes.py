"""Forward mode with lanes against forward mode without, by the interpreter and compiled."""

import numpy as np
import pytest

from numbaflux.ir.interp import interpret, lanes_of
from numbaflux.ir.nodes import Array, Function, Scalar
from numbaflux.ir.verify import verify
from numbaflux.passes import optimise
from numbaflux.transforms.jvp import jvp
from numbaflux.transforms.lanes import can_widen, jvp_lanes, only_read
from tests.transforms.programs import PROGRAMS

LANES = 4


def floats(fn: Function) -> list:
    return [p for p in fn.params if p.type.is_float]


def has_lanes(name: str) -> bool:
    fn = PROGRAMS[name][0]()
    return can_widen(fn, floats(fn))


WIDE = [name for name in PROGRAMS if has_lanes(name)]


def run(fn: Function, args: list) -> list:
    args = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    return list(interpret(fn, args))


def seeds(fn: Function, args: list) -> list[np.ndarray]:
    """Tangents of every float parameter in all lanes; of an array that is only read, units."""
    rng, found = np.random.default_rng(0), []
    for p, a in zip(fn.params, args):
        if p in only_read(fn):
            units = np.zeros((np.size(a), LANES))
            units[: LANES - 1, 1:] = np.eye(LANES - 1)[: np.size(a)]
            found.append(units.reshape(*np.shape(a), LANES))
        elif p.type.is_float:
            found.append(rng.standard_normal((*np.shape(a), LANES)))
    return found


@pytest.mark.parametrize("name", WIDE)
def test_every_lane_is_the_jvp_of_its_seed(name):
    make, args = PROGRAMS[name]
    fn = optimise(make())
    wrt, given = floats(fn), seeds(fn, args)
    one, wide = optimise(jvp(fn, wrt)), optimise(jvp_lanes(fn, wrt, LANES))
    verify(wide)
    lanes_given = [1 if p in only_read(fn) else t.copy() for p, t in zip(wrt, given)]
    found = run(wide, [*args, *lanes_given])
    for lane in range(LANES):
        expected = run(one, [*args, *(t[..., lane].copy() for t in given)])
        for a, b, r in zip(found, expected, wide.results, strict=True):
            a = a[..., lane] if lanes_of(r.type) else a
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


def test_most_programs_have_lanes():
    without = set(PROGRAMS) - set(WIDE)
    assert all("recurs" in name for name in without), without


def test_only_tangents_have_lanes():
    make, _ = PROGRAMS["scalars"]
    fn = make()
    wide = jvp_lanes(fn, floats(fn), LANES)
    kinds = [r.type for r in wide.results]
    assert kinds == [Scalar("float64"), Scalar("float64", LANES)]
    assert not any(isinstance(t, Array) for t in kinds)
