"""Programs whose parameters are parts of one vector."""

import re

import numpy as np
import pytest

import numbaflux as nf
from numbaflux import vecmath


def net(p, x):
    """A layer that takes its parts of `p` in every trip of a loop."""
    out, hidden = 0.0, np.empty(16)
    for k in range(len(x)):
        W, b = p[0:32].reshape((2, 16)), p[32:48].reshape(16)
        for j in range(16):
            hidden[j] = b[j]
        for i in range(2):
            for j in range(16):
                hidden[j] += x[k, i] * W[i, j]
        for j in range(16):
            out += vecmath.tanh(hidden[j])
    return out


def chosen(x):
    """An elementary function under a branch, where no loop could run over vectors."""
    return vecmath.tanh(x) if x > 0.0 else vecmath.sin(x)


def blocks(x, width):
    """Rows that lie apart (width 3) or overlap (width 4) in one vector, overwritten in order."""
    for i in range(3):
        for j in range(width):
            x[3 * i + j] = 0.5 * x[3 * i + j] ** 2 + 1.0
    return x.sum()


@pytest.fixture(scope="module")
def parameters():
    rng = np.random.default_rng(0)
    return rng.normal(size=48), rng.normal(size=(5, 2))


def test_views_are_taken_once_and_before_the_loop(parameters):
    text = nf.source(nf.grad(net), *parameters)
    head, loop = text.split("for ", 1)
    assert len(re.findall(r"\bp\[0:32\]", head)) == 1
    assert not re.search(r"\bp\[", loop)


def test_gradient_of_parts(parameters):
    nf.check_grads(net, parameters)
    p, x = parameters
    d_W, d_b = np.zeros((2, 16)), np.zeros(16)
    for row in x:
        inner = 1.0 - np.tanh(row @ p[:32].reshape(2, 16) + p[32:]) ** 2
        d_W, d_b = d_W + np.outer(row, inner), d_b + inner
    np.testing.assert_allclose(nf.grad(net)(p, x), [*d_W.ravel(), *d_b], rtol=1e-12)


def test_a_wrong_length_is_still_noticed(parameters):
    p, x = parameters
    with pytest.raises(ValueError, match="total size"):
        nf.grad(net)(p[:40], x)


@pytest.mark.parametrize("x", [0.7, -0.7])
def test_vecmath_is_what_the_user_wrote(x):
    df = nf.grad(chosen)
    text = nf.source(df, x)
    assert "vecmath.tanh(" in text and not re.search(r"\bmath\.(tanh|sin|cos)", text)
    expected = 1.0 - np.tanh(x) ** 2 if x > 0 else np.cos(x)
    np.testing.assert_allclose(df(x), expected, rtol=1e-15)


@pytest.mark.parametrize("width", [3, 4])
def test_rows_in_one_vector(width):
    nf.check_grads(lambda x: blocks(x.copy(), width), (np.linspace(0.5, 1.5, 10),))


def test_a_loop_over_vectors_stays_apart_from_a_nest():
    def layer(W, x):
        hidden, total = np.empty(16), 0.0
        for j in range(16):
            hidden[j] = vecmath.tanh(x[j])
        for j in range(16):
            for i in range(W.shape[1]):
                total += hidden[j] * W[j, i]
        return total

    args = np.ones((16, 3)), np.linspace(0.0, 1.0, 16)
    text = nf.source(nf.grad(layer, argnums=(0, 1)), *args)
    assert not re.search(r"vecmath\.tanh.*\n(?: {8}.*\n)* {8}for ", text)
    nf.check_grads(layer, args)
