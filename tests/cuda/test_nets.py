"""Layers in kernels: nets that are a thread's own, nets that all share, and what is written."""

import re

import numba
import numpy as np
import pytest
from numba import cuda, float32, float64

import numbaflux as nf
from numbaflux import nn
from numbaflux.cuda.report import source
from numbaflux.demo import ensemble, neural_ode
from numbaflux.errors import UnsupportedError
from tests.cuda import pretend

NET = nn.layout("Member", l1=nn.Dense(2, 3), norm=nn.LayerNorm(3), l2=nn.Dense(3, 2))
MEMBERS, STEPS, DT = 5, 3, 0.1
VECTOR, MATRIX = float64[::1], float64[:, ::1]


@numba.njit(**nn.FAST)
def euler(p, u):
    """Arrays of constant shape, which layers make for themselves too."""
    P = NET.unpack(p)
    for _ in range(STEPS):
        hidden = nn.activate(nn.gelu, nn.dense(P.l1, u))
        du = nn.dense(P.l2, nn.layernorm(P.norm, hidden))
        for j in range(2):
            u[j] += DT * du[j]


@numba.njit(**nn.FAST)
def error(p, start, target):
    u = np.empty(2)
    u[0], u[1] = start
    euler(p, u)
    return nn.huber(u, target)


@cuda.jit
def own(ps, starts, targets, out):
    m = cuda.grid(1)
    if m < ps.shape[0]:
        out[m] = error(ps[m], starts[m], targets[m])


@cuda.jit
def shared(p, starts, targets, out):
    m = cuda.grid(1)
    if m < starts.shape[0]:
        out[m] = error(p, starts[m], targets[m])


def test_gradients_are_those_of_compiled_code():
    rng = np.random.default_rng(0)
    ps = np.stack([NET.init(seed) for seed in range(MEMBERS)])
    starts, targets = rng.normal(size=(2, MEMBERS, 2))
    found, shadow = np.zeros(MEMBERS), np.zeros_like(ps)
    nf.cuda.emulate(own)[1, 32](ps, starts, targets, found)
    step = nf.value_and_grad(error)
    values, gradients = zip(*(step(*m) for m in zip(ps, starts, targets)))
    np.testing.assert_allclose(found, values, rtol=1e-13)
    launch = nf.cuda.emulate(nf.cuda.adjoint(own))[1, 32]
    launch(nf.Dup(ps, shadow), starts, targets, nf.Dup(found, np.ones(MEMBERS)))
    np.testing.assert_allclose(shadow, gradients, rtol=1e-12, atol=1e-14)


def test_a_thread_adds_to_its_own_parameters_plainly():
    """A row of them, or a vector of all threads: through the views that layers take."""
    rows = nf.Dup(MATRIX, MATRIX), MATRIX, MATRIX, nf.Dup(VECTOR, VECTOR)
    assert "atomic" not in source(nf.cuda.adjoint(own)[4, 32], *rows)
    one = nf.Dup(VECTOR, VECTOR), *rows[1:]
    assert "cuda.atomic.add(d_W" in source(nf.cuda.adjoint(shared)[4, 32], *one)


LAYERS = nn.layout("All", cell=nn.LSTM(2, 3), gru=nn.GRU(3, 3), norm=nn.LayerNorm(3))


@cuda.jit
def layers(ps, xs, ys, out):
    m = cuda.grid(1)
    if m < ps.shape[0]:
        P = LAYERS.unpack(ps[m])
        h, c = np.zeros(3, np.float32), np.zeros(3, np.float32)
        for t in range(xs.shape[0]):
            nn.lstm(P.cell, xs[t], h, c)
        nn.gru(P.gru, c, h)
        nn.activate(nn.mish, nn.layernorm(P.norm, h, c), c)
        out[m] = nn.mse(nn.dropout(c, 0.5, 1, m, h), ys[m])


def test_layers_of_float32_are_written_in_float32():
    vector, matrix = float32[::1], float32[:, ::1]
    given = nf.Dup(matrix, matrix), matrix, matrix, nf.Dup(vector, vector)
    text = source(nf.cuda.adjoint(layers)[4, 32], *given)
    assert "atomic" not in text
    drawn = re.findall("np.float64.*|float\\(.*", text)
    assert len(drawn) == 1 and "uint64" in drawn[0]  # dropout's number in [0, 1)


def test_the_ensemble_learns_as_each_of_its_nets_does():
    seen = neural_ode.spiral()[:6]
    ps, history = ensemble.fit(seen, steps=3, members=3)
    for m in range(3):
        p = neural_ode.NET.init(m)
        state = ensemble.update.state(p)
        for t in range(3):
            loss, g = neural_ode.step(p, seen)
            np.testing.assert_allclose(history[t, m], loss, rtol=1e-12)
            ensemble.update(p, g, state, t)
        np.testing.assert_allclose(ps[:, m], p, rtol=1e-10, atol=1e-12)


# ---- arrays of a thread's own ------------------------------------------------------------------


@cuda.jit
def zeroed(x, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        for k in range(3):
            sums = np.zeros(2)
            sums[k % 2] += x[i]
            out[i] += sums[0] * sums[0]


@cuda.jit
def swapped(x, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        a, b = np.zeros(2), np.ones(2)
        for _ in range(3):
            a, b = b, a
            a[0] += x[i]
        out[i] = a[0]


def test_an_array_of_each_trip_is_new():
    x, out = np.array([1.0, 2.0]), np.zeros(2)
    nf.cuda.emulate(zeroed)[1, 32](x, out)
    np.testing.assert_array_equal(out, 2.0 * x**2)
    text = source(nf.cuda.launch(zeroed)[1, 32], VECTOR, VECTOR)
    assert "sums = cuda.local.array(2, np.float64)" in text


def test_an_array_with_two_names_is_not_local():
    with pytest.raises(UnsupportedError):
        source(nf.cuda.launch(swapped)[1, 32], VECTOR, VECTOR)


# ---- reshaped ----------------------------------------------------------------------------------

TWICE = nn.layout("Twice", skipped=nn.param((3,)), W=nn.param((4, 3)), cube=nn.param((2, 2, 3)))


@cuda.jit
def places(p, x, out):
    i = cuda.grid(1)
    if i < out.shape[0]:
        P = TWICE.unpack(p)
        block = P.cube[i % 2]
        flat = P.W.reshape(12)
        out[i] = P.W[-1, i] * x[i] + P.W[i, -2] * block[-1, i] + P.cube[1, -1][i] * flat[i - 3]


def expected(p, x):
    P = TWICE.unpack(p)
    W, cube = P.W, P.cube
    terms = (
        W[-1, i] * x[i] + W[i, -2] * cube[i % 2, -1, i] + cube[1, -1, i] * W.ravel()[i - 3]
        for i in range(len(x))
    )
    return np.array(list(terms))


def test_places_in_reshaped_arrays(monkeypatch):
    """What is written for a GPU, run by the emulator: rows, several axes, negative indices."""
    pretend.install(monkeypatch)
    rng = np.random.default_rng(0)
    p, x, way = rng.normal(size=TWICE.size), rng.normal(size=3), rng.normal(size=TWICE.size)
    out, slope = np.zeros(3), np.zeros(3)
    nf.cuda.tangent(places)[1, 32](nf.Dup(p, way), x, nf.Dup(out, slope))
    np.testing.assert_allclose(out, expected(p, x), rtol=1e-13)
    change = expected(p + 0.5 * way, x) - expected(p - 0.5 * way, x)
    np.testing.assert_allclose(slope, change, rtol=1e-12)  # exact: of second degree
    shadow = np.zeros_like(p)
    nf.cuda.adjoint(places)[1, 32](nf.Dup(p, shadow), x, nf.Dup(out, np.ones(3)))
    np.testing.assert_allclose(shadow @ way, slope.sum(), rtol=1e-12)


@cuda.jit
def columns(p, out):
    i = cuda.grid(1)
    if i < out.shape[0]:
        out[i] = TWICE.unpack(p).W[:, i][0]


def test_a_column_of_a_reshaped_array_is_refused():
    with pytest.raises(UnsupportedError, match="columns of a reshaped array"):
        source(nf.cuda.launch(columns)[1, 32], VECTOR, VECTOR)
