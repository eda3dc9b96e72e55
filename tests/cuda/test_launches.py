"""Launches on a GPU that is not there, against the same on the emulator. See pretend.py."""

import numpy as np
import pytest
from numba import cuda

import numbaflux as nf
from tests.cuda import pretend
from tests.cuda.hosts import N, P, halve, pulled, random, trajectory
from tests.cuda.pretend import Array, Foreign
from tests.cuda.steps import grid, misfit, stencil


@pytest.fixture
def gpu(monkeypatch):
    return pretend.install(monkeypatch)


def test_vjp_keeps_its_tape_on_the_device(gpu):
    vjp = nf.cuda.vjp(halve)
    found = pulled(vjp, Array)
    made = dict(gpu.counts)
    assert made["device_array"] >= 3 and made["synchronize"] >= 1  # tapes; counts, which are read
    for a, b in zip(found, pulled(nf.cuda.emulate(vjp), np.array), strict=True):
        np.testing.assert_allclose(a.copy_to_host(), b, rtol=1e-13)


@pytest.mark.parametrize("put", [Array, Foreign, np.array])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_tape(gpu, put, checkpointed):
    mine, found = trajectory(nf.cuda.launch, put, checkpointed)
    theirs, wanted = trajectory(nf.cuda.emulate, np.array, checkpointed)
    assert mine.copies == theirs.copies
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(getattr(a, "hidden", a), b, rtol=1e-13)
    assert (gpu.counts["adopted"] > 0) == (put is Foreign)


def test_derivatives_are_recorded_as_they_are(gpu):
    """The gradient of |d loss/d u|^2 / 2: a Hessian times a vector."""

    def gradients(run, adjoint, put):
        p, u, v = put(P.copy()), put(random(N)), put(np.zeros(N))
        dp, du, dv, loss = (put(a) for a in (np.zeros(2), np.zeros(N), np.ones(N), np.zeros(1)))
        with nf.cuda.Tape() as tape:
            adjoint[grid(u)](nf.Dup(p, dp), nf.Dup(u, du), nf.Dup(v, dv))
            run(misfit.kernel)[grid(u)](du, v, loss)
        found = tape.backward(loss)
        return [found[a] for a in (p, u, dv)]

    adjoint = nf.cuda.adjoint(stencil.kernel)
    found = gradients(nf.cuda.launch, adjoint, Array)
    for a, b in zip(found, gradients(nf.cuda.emulate, nf.cuda.emulate(adjoint), np.array)):
        np.testing.assert_allclose(a.hidden, b, rtol=1e-13, atol=1e-14)


def test_a_strided_array_is_copied_before_it_is_overwritten(gpu):
    u, big = random(N), np.zeros((N, 2))
    big[:, 0] = u
    x, y = Array(big[:, 0]), Array(np.zeros(N))
    run = nf.cuda.launch(stencil.kernel)
    with nf.cuda.Tape() as tape:
        run[grid(u)](Array(P), x, y)
        nf.cuda.copy(x, 0.0)
    v = np.zeros(N)
    with nf.cuda.Tape() as wanted:
        stencil[grid(u)](P, u, v)
    assert tape.copies == 1 and np.all(big == 0.0)
    np.testing.assert_allclose(
        tape.backward(y, 1.0)[x].hidden, wanted.backward(v, 1.0)[u], rtol=1e-13
    )


def test_what_is_bound_is_launched_again(gpu):
    u, v = Array(random(N)), Array(np.zeros(N))
    start = nf.cuda.launch(stencil.kernel)[grid(u)].bind(Array(P), u, v)
    start()
    first = v.copy_to_host()
    v[:] = 0.0
    start()
    np.testing.assert_array_equal(v.hidden, first)
    with nf.cuda.Tape(), pytest.raises(TypeError, match="bound"):
        nf.cuda.launch(stencil.kernel)[grid(u)].bind(Array(P), u, v)


def test_arrays_of_a_step_must_be_handed_on(gpu):
    """Who else has memory of a device nobody can tell, so none of it counts as gone."""
    run, p = nf.cuda.launch(stencil.kernel), Array(P)

    def step(t, state):
        (u,) = state
        half, after = Array(np.zeros(N)), Array(np.zeros(N))
        run[grid(u)](p, u, half)
        run[grid(u)](p, half, after)
        return (after,)

    with nf.cuda.Tape(), pytest.raises(ValueError, match="neither in the state"):
        nf.cuda.checkpoint(step, 2, (Array(random(N)),), slots=1)


# ---- without a GPU -----------------------------------------------------------------------------

needs_none = pytest.mark.skipif(cuda.is_available(), reason="there is a GPU")


@needs_none
@pytest.mark.parametrize("made", [nf.cuda.launch, nf.cuda.vjp, nf.cuda.tangent])
@pytest.mark.parametrize("put", [np.array, Array, Foreign])
def test_without_a_gpu_the_emulator_is_named(made, put):
    with pytest.raises(nf.cuda.NoCudaError, match=r"numbaflux\.cuda\.emulate\(kernel\)"):
        made(halve)[1, 32](put(np.ones(3)), put(np.ones(3)))


def test_the_emulator_takes_arrays_of_the_host():
    with pytest.raises(TypeError, match="NumPy arrays, not a Foreign"):
        nf.cuda.emulate(halve)[1, 32](Foreign(np.ones(3)), np.ones(3))
