"""Learning rates at their ends, corners and middles."""

import math

import numpy as np
import pytest

from numbaflux import optim


def test_constant():
    assert optim.constant(0.3)(7) == 0.3


def test_cosine():
    rate = optim.cosine(1.0, 10, last=0.2)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(11)]
    np.testing.assert_allclose([rate(t) for t in range(11)], expected, rtol=1e-15)
    assert rate(0) == 1.0 and rate(10) == rate(99) == pytest.approx(0.2)


def test_exponential():
    rate = optim.exponential(2.0, 0.1, every=3)
    np.testing.assert_allclose([rate(0), rate(3), rate(6)], [2.0, 0.2, 0.02], rtol=1e-15)


def test_warmup_then_another_counted_anew():
    rate = optim.warmup(0.5, 5, optim.exponential(0.5, 0.5))
    expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.25, 0.125]
    np.testing.assert_allclose([rate(t) for t in range(8)], expected, rtol=1e-15)


def test_onecycle():
    rate = optim.onecycle(1.0, 100, rise=0.25, start=10.0, end=100.0)
    rates = np.array([rate(t) for t in range(130)])
    assert rates[0] == pytest.approx(0.1) and rates[25] == pytest.approx(1.0)
    assert np.all(np.diff(rates[:26]) > 0) and np.all(np.diff(rates[25:101]) < 0)
    np.testing.assert_allclose(rates[100:], 1e-3)
    assert rates[62] == pytest.approx(
        1e-3 + 0.999 * 0.5 * (1 + math.cos(math.pi * 37 / 75)), rel=1e-14
    )
