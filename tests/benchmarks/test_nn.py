"""The workloads of `python -m benchmarks.nn`: every tool has the losses of the loop by hand."""

import numpy as np
import pytest

from benchmarks.nn import __main__ as run
from benchmarks.nn.tools import Case

SMALL = {"lstm": {"length": 5}, "universal-ode": {"times": 5}}  # others: exhaustive runs


def everything():
    for name in run.CASES:
        for dtype in (np.float64, np.float32):
            quick = name in SMALL and dtype is np.float64
            yield pytest.param(name, dtype, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize("name, dtype", list(everything()))
def test_our_losses_are_those_by_hand(name, dtype):
    case = run.find(name, dtype, **SMALL.get(name, {}))
    hand, ours = (run.losses(case, tool)[2] for tool in ("hand", "numbaflux"))
    assert hand[9] < hand[1] < hand[0]
    np.testing.assert_allclose(ours, hand, rtol=run.CLOSE[case.p.dtype.name])


def fake(losses):
    return lambda: lambda p, steps: np.asarray(losses[:steps])


def test_what_has_other_losses_is_not_timed():
    losses = [3.0, 2.0, *([1.0] * 8)]
    tools = {"hand": fake(losses), "numbaflux": fake(losses)}
    row = run.measure(Case(np.zeros(2), tools, 10, 1.5), rivals=False)
    assert row["step_s"].keys() == row["first_step_s"].keys() == tools.keys()
    tools["numbaflux"] = fake([3.0, 2.001, *([1.0] * 8)])
    with pytest.raises(AssertionError, match="numbaflux"):
        run.measure(Case(np.zeros(2), tools, 10, 1.5), rivals=False)
