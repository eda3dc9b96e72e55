"""Batches, `fit` and `Chain`."""

import sys

import numba
import numpy as np
import pytest

import numbaflux as nf
from numbaflux import nn, optim

X = np.linspace(-1.0, 1.0, 50)
Y = 3.0 * X + 1.0
ADAM = optim.adam(lr=0.05)


@numba.njit(**nn.FAST)
def loss(p, x, y):
    return nn.mse(p[0] * x + p[1], y)


def test_batches_hold_every_row_once():
    x = np.arange(22.0).reshape(11, 2)
    parts = list(nn.batches(x, np.arange(11), 4, np.random.default_rng(1)))
    assert [len(a) for a, _ in parts] == [4, 4, 3]
    order = np.concatenate([b for _, b in parts])
    assert sorted(order) == list(range(11)) and list(order) != list(range(11))
    np.testing.assert_array_equal(np.concatenate([a for a, _ in parts]), x[order])


@pytest.mark.parametrize(("rows", "size"), [(3, 0), (2, 1), (0, 1)])
def test_what_is_no_batch_is_refused(rows, size):
    with pytest.raises(ValueError, match="rows"):
        next(nn.batches(np.zeros(rows), np.zeros(3 if rows else 0), size))
    with pytest.raises(ValueError, match="rows"):
        nn.fit(loss, np.zeros(2), np.zeros(rows), np.zeros(3 if rows else 0), size=size)


def test_fit_is_the_loop_one_writes():
    p, q = np.zeros(2), np.zeros(2)
    history = nn.fit(loss, p, X, Y, epochs=3, size=16, update=ADAM, rng=7)
    step, rng, state, t = nf.value_and_grad(loss), np.random.default_rng(7), ADAM.state(q), 0
    for epoch in range(3):
        values = []
        for x, y in nn.batches(X, Y, 16, rng):
            value, g = step(q, x, y)
            ADAM(q, g, state, t)
            values.append(value)
            t += 1
        assert history.loss[epoch] == pytest.approx(np.mean(values), rel=1e-12)
    np.testing.assert_allclose(p, q, rtol=1e-12)
    np.testing.assert_allclose(history.state, state, rtol=1e-12)
    assert history.step == t == 12 and history.best == 2
    assert np.isnan(history.validation).all() and history.validation.shape == (3,)


def test_fit_goes_on_where_it_ended():
    whole, halves = np.zeros(2), np.zeros(2)
    nn.fit(loss, whole, X, Y, epochs=4, update=ADAM, rng=np.random.default_rng(3))
    rng = np.random.default_rng(3)
    first = nn.fit(loss, halves, X, Y, epochs=2, update=ADAM, rng=rng)
    nn.fit(loss, halves, X, Y, epochs=2, update=ADAM, rng=rng, state=first.state, step=first.step)
    np.testing.assert_array_equal(whole, halves)


def test_the_best_epoch_is_kept():
    """A rate that jumps away from the minimum after two epochs."""

    @numba.njit
    def rate(step):
        return 0.1 if step < 2 else 10.0

    p, other = np.zeros(2), (X, Y)
    history = nn.fit(
        loss, p, X, Y, epochs=50, size=50, update=optim.sgd(rate), validation=other, patience=3
    )
    assert history.best == 1 and len(history.loss) == len(history.validation) == 5
    assert history.validation[1] == history.validation.min() == loss(p, X, Y)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="nan in epoch 0"):
        nn.fit(loss, np.full(2, np.nan), X, Y, epochs=2, update=ADAM)


def test_the_bar(capsys, monkeypatch):
    nn.fit(loss, np.zeros(2), X, Y, epochs=2, update=ADAM, validation=(X, Y), progress=True)
    printed = capsys.readouterr().out
    assert "epoch 2" in printed and "loss" in printed and "validation" in printed
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    history = nn.fit(loss, np.zeros(2), X, Y, epochs=2, update=ADAM, progress=True)
    assert len(history.loss) == 2 and capsys.readouterr().out == ""


@numba.njit(**nn.FAST)
def scaled(P, x):
    return P.s * x


def test_a_chain_is_the_composition():
    net, model = nn.Chain(
        (nn.Dense(3, 4), nn.dense), nn.tanh, ({"s": nn.param((), 2.0)}, scaled),
        (nn.Dense(4, 2), nn.dense), nn.sigmoid,
    )  # fmt: skip
    p, x = net.init(1), np.random.default_rng(0).normal(size=(5, 3))
    P = net.unpack(p)
    expected = np.tanh(x @ P.l1.W + P.l1.b) * 2.0 @ P.l3.W + P.l3.b
    np.testing.assert_allclose(model(p, x), 1.0 / (1.0 + np.exp(-expected)), rtol=1e-13)

    @numba.njit(**nn.FAST)
    def loss(p, x, y):
        return nn.mse(model(p, x), y)

    nf.check_grads(loss, (p, x, np.zeros((5, 2))))
