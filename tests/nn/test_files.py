"""Parameters in files."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, safe_open, save_file

from numbaflux import nn

NET = nn.layout("Net", l1=nn.Dense(2, 3), rate=nn.param(start=0.5), l2=nn.Dense(3, 1))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_comes_back(path, dtype):
    p, rng = NET.init(0, dtype=dtype), np.random.default_rng(5)
    state = rng.normal(size=(2, NET.size)).astype(dtype)
    nn.save(path, NET, p, state, 17, rng)
    q, again, step, other = nn.load(path, NET)
    assert q.dtype == again.dtype == dtype and step == 17
    np.testing.assert_array_equal(q, p)
    np.testing.assert_array_equal(again, state)
    np.testing.assert_array_equal(other.random(5), rng.random(5))


def test_the_rest_may_be_missing(path):
    nn.save(path, NET, NET.init(0))
    assert nn.load(path, NET)[1:] == (None, 0, None)


def test_names_for_other_tools(path):
    p = NET.init(0)
    nn.save(path, NET, p, np.zeros((1, NET.size)))
    arrays, P = load_file(path), NET.unpack(p)
    np.testing.assert_array_equal(arrays["l2.W"], P.l2.W)
    assert arrays["rate"] == 0.5 and arrays["rate"].shape == ()
    assert arrays["state.0/l1.W"].shape == (2, 3)
    with safe_open(path, "numpy") as file:
        layout = json.loads(file.metadata()["layout"])
    assert layout["Net"][0] == ["l1.W", [2, 3]]
    save_file({name: arrays[name] for name in reversed(arrays) if "/" not in name}, path)
    np.testing.assert_array_equal(nn.load(path, NET).p, p)


def test_strides_do_not_matter(path):
    """safetensors by itself writes a transposed array's memory under its shape."""
    wide = np.random.default_rng(0).normal(size=(2, 3))
    save_file({"W": wide.T}, path)
    assert not np.array_equal(load_file(path)["W"], wide.T)
    columns = np.random.default_rng(0).normal(size=(NET.size, 3))
    nn.save(path, NET, columns[:, 1], columns.T[::2])
    p, state, _, _ = nn.load(path, NET)
    np.testing.assert_array_equal(p, columns[:, 1])
    np.testing.assert_array_equal(state, columns.T[::2])


@pytest.mark.parametrize("name", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_every_generator_goes_on(path, name):
    rng = np.random.Generator(getattr(np.random, name)(3))
    rng.random(7)
    nn.save(path, NET, NET.init(0), rng=rng)
    np.testing.assert_array_equal(nn.load(path, NET).rng.random(700), rng.random(700))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"l1": nn.Dense(2, 4)}, r"l1.W is \(2, 3\) in .*, \(2, 4\) in Other"),
        ({"l1": nn.Dense(2, 3), "l2": nn.Dense(3, 1)}, "has rate, Other has not"),
        ({"l1": nn.Dense(2, 3), "rates": nn.param()}, r"has no rates, Other has one of shape \(\)"),
    ],
)
def test_another_layout_is_refused(path, other, said):
    nn.save(path, NET, NET.init(0))
    with pytest.raises(ValueError, match=said):
        nn.load(path, nn.layout("Other", **other))


def test_a_generator_of_nobody_is_refused(path):
    nn.save(path, NET, NET.init(0))
    save_file(load_file(path), path, {"rng": '{"bit_generator": "Generator"}'})
    with pytest.raises(ValueError, match="Generator is no bit generator"):
        nn.load(path, NET)
