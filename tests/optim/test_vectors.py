"""What is done to a flat gradient, in both dtypes."""

import numpy as np
import pytest

from numbaflux import optim


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_clip_scales_what_is_too_long_and_nothing_else(dtype):
    g = np.array([3.0, -4.0], dtype)
    assert optim.norm(g) == 5.0
    assert optim.clip(g, 6.0) == 5.0
    np.testing.assert_array_equal(g, [3.0, -4.0])
    assert optim.clip(g, 2.5) == 5.0
    np.testing.assert_allclose(g, [1.5, -2.0], rtol=1e-6)
    assert g.dtype == dtype


def test_clip_leaves_zeros():
    g = np.zeros(3)
    assert optim.clip(g, 1.0) == 0.0 and not g.any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_decay_and_accumulate(dtype):
    p, g = np.array([1.0, -2.0], dtype), np.array([0.5, 0.5], dtype)
    optim.decay(g, p, 0.25)
    np.testing.assert_array_equal(g, [0.75, 0.0])
    total = np.ones(2, dtype)
    optim.accumulate(total, g, 0.5)
    optim.accumulate(total, g)
    np.testing.assert_array_equal(total, [2.125, 1.0])
    assert g.dtype == total.dtype == dtype
