"""Launches that are recorded and reversed."""

import threading

import numpy as np
import pytest

import numbaflux as nf
from tests.cuda.steps import choose, gather, grid, misfit, pair, shift, square, stencil

N = 13


def random(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def differences(f, x, h=1e-5):
    """The gradient of f by fourth-order central differences."""
    out = np.empty_like(x)
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = h
        near, far = f(x + e) - f(x - e), f(x + 2 * e) - f(x - 2 * e)
        out[i] = (8 * near - far) / (12 * h)
    return out


def check(program, *inputs):
    """The gradients of a program -> loss for its inputs against differences."""
    arrays = [x.copy() for x in inputs]
    with nf.cuda.Tape() as tape:
        loss = program(*arrays)
    grads = tape.backward(loss)
    for k, x in enumerate(inputs):

        def of_one(value, k=k):
            args = [value.copy() if i == k else y.copy() for i, y in enumerate(inputs)]
            return program(*args)[0]

        np.testing.assert_allclose(grads[arrays[k]], differences(of_one, x), rtol=1e-8, atol=1e-9)
    return tape


def test_two_kernels():
    data = random(N, seed=1)

    def program(p, u):
        v, loss = np.zeros(N), np.zeros(1)
        stencil[grid(u)](p, u, v)
        misfit[grid(u)](v, data, loss)
        return loss

    assert check(program, np.array([0.2, 0.3]), random(N)).copies == 0


def ping_pong(step, steps):
    def program(*inputs):
        *p, u = inputs
        v, loss = np.zeros(N), np.zeros(1)
        for _ in range(steps):
            step[grid(u)](*p, u, v)
            u, v = v, u
        misfit[grid(u)](u, np.full(N, 0.3), loss)
        return loss

    return program


def test_six_steps_of_two_buffers_need_five_copies():
    assert check(ping_pong(stencil, 6), np.array([0.2, 0.3]), random(N)).copies == 5


def test_linear_steps_need_none():
    assert check(ping_pong(shift, 6), random(N)).copies == 0


def test_in_place():
    def program(u):
        loss = np.zeros(1)
        for _ in range(3):
            square[grid(u)](u)
        misfit[grid(u)](u, np.zeros(N), loss)
        return loss

    check(program, random(N))


def test_a_parameter_is_overwritten_between_launches():
    def program(p, q, u):
        v, loss = np.zeros(N), np.zeros(1)
        stencil[grid(u)](p, u, v)
        nf.cuda.copy(p, q)
        stencil[grid(u)](p, v, u)
        misfit[grid(u)](u, np.zeros(N), loss)
        return loss

    tape = check(program, np.array([0.2, 0.3]), np.array([0.1, -0.4]), random(N))
    assert tape.copies == 2  # p and u


def test_copies_of_arrays_and_numbers():
    def program(u, v):
        w, loss = np.zeros(N), np.ones(1)
        nf.cuda.copy(w, u)
        square[grid(u)](u)
        nf.cuda.copy(v, u)
        nf.cuda.copy(u, 0.25)
        misfit[grid(u)](u, w, loss)
        misfit[grid(u)](v, w, loss)
        return loss

    check(program, random(N), random(N, seed=2))


def test_integers_between():
    def program(u):
        index, v, loss = np.zeros(N, np.int64), np.zeros(N), np.zeros(1)
        choose[grid(u)](u, index)
        gather[grid(u)](u, index, v)
        choose[grid(u)](v, index)
        misfit[grid(u)](v, np.zeros(N), loss)
        return loss

    assert check(program, random(N)).copies == 1  # of the indices


def test_a_tuple_of_arrays():
    def program(a, b):
        out, loss = np.zeros(N), np.zeros(1)
        pair[grid(a)]((a, b), out)
        nf.cuda.copy(a, 7.0)
        misfit[grid(a)](out, np.zeros(N), loss)
        return loss

    assert check(program, random(N), random(N, seed=3)).copies == 1
    a, b, out = random(N), random(N), np.zeros(N)
    with nf.cuda.Tape(constant=[a]), pytest.raises(nf.UnsupportedError, match="tuple"):
        pair[grid(a)]((a, b), out)


def test_slices_and_layouts():
    data = random(N)

    def program(u):
        both, loss = np.zeros((2, N)), np.zeros(1)
        nf.cuda.copy(both[0], u)
        for k in range(4):
            stencil[grid(data)](np.array([0.2, 0.1]), both[k % 2], both[1 - k % 2])
        loud = np.asfortranarray(np.zeros((3, N)))
        nf.cuda.copy(loud[1], both[0])
        square[grid(data)](loud[1])
        misfit[grid(data)](loud[1], data, loss)
        return loss

    check(program, random(N, seed=4))


def test_dot_product_identity():
    """<dy, J dx> = <J^T dy, dx>, J dx by the tangents of the same launches."""
    p, u, dp, du = np.array([0.2, 0.3]), random(N), random(2, seed=5), random(N, seed=6)
    dy = random(N, seed=7)
    tangent = nf.cuda.emulate(nf.cuda.tangent(stencil.kernel))
    a, da, b, db = u.copy(), du.copy(), np.zeros(N), np.zeros(N)
    for _ in range(5):
        tangent[grid(u)](nf.Dup(p, dp), nf.Dup(a, da), nf.Dup(b, db))
        a, b, da, db = b, a, db, da
    v, w = u, np.zeros(N)
    with nf.cuda.Tape() as tape:
        for _ in range(5):
            stencil[grid(u)](p, v, w)
            v, w = w, v
    grads = tape.backward(v, dy)
    np.testing.assert_allclose(v, a, rtol=1e-14)
    assert grads[u] @ du + grads[p] @ dp == pytest.approx(dy @ da, rel=1e-12)


def test_several_outputs_and_a_second_time():
    p, u, v = np.array([0.2, 0.3]), random(N), np.zeros(N)
    w = np.zeros(N)
    with nf.cuda.Tape() as tape:
        stencil[grid(u)](p, u, v)
        square[grid(u)](u)
        shift[grid(u)](v, w)
    before = [x.copy() for x in (p, u, v, w)]
    both = tape.backward((u, w), (2.0, np.ones(N)))[p]
    apart = tape.backward(u, 2.0)[p] + tape.backward(w, np.ones(N))[p]
    np.testing.assert_allclose(both, apart, rtol=1e-13)
    assert np.all(tape.backward(u, 2.0)[p] == 0.0)
    for array, was in zip((p, u, v, w), before):
        np.testing.assert_array_equal(array, was)


def test_what_is_constant_is_not_differentiated():
    p, u, v = np.array([0.2, 0.3]), random(N), np.zeros(N)
    with nf.cuda.Tape(constant=[p]) as tape:
        stencil[grid(u)](p, u, v)
    grads = tape.backward(v, 1.0)
    with nf.cuda.Tape() as full:
        stencil[grid(u)](p, u, v)
    np.testing.assert_array_equal(grads[u], full.backward(v, 1.0)[u])
    with pytest.raises(KeyError, match="constant"):
        grads[p]
    with nf.cuda.Tape(constant=[v]), pytest.raises(ValueError, match="constant"):
        stencil[grid(u)](p, u, v)


def test_the_adjoint_of_an_adjoint():
    """The gradient of |d loss/d u|^2 / 2: a Hessian times a vector."""
    adjoint = nf.cuda.emulate(nf.cuda.adjoint(stencil.kernel))

    def program(p, u):
        v, dp, du, dv, loss = np.zeros(N), np.zeros(2), np.zeros(N), np.ones(N), np.zeros(1)
        stencil[grid(u)](p, u, v)
        adjoint[grid(u)](nf.Dup(p, dp), nf.Dup(u, du), nf.Dup(v, dv))
        misfit[grid(u)](du, np.zeros(N), loss)
        return loss

    check(program, np.array([0.2, 0.3]), random(N))


def test_what_backward_refuses():
    u, v = random(N), np.zeros(N)
    with nf.cuda.Tape() as tape:
        shift[grid(u)](u, v)
    with pytest.raises(ValueError, match="touched"):
        tape.backward(np.zeros(1))
    with pytest.raises(ValueError, match="needs a seed"):
        tape.backward(v)
    with pytest.raises(ValueError, match="shape"):
        tape.backward(v, np.ones(2))
    with pytest.raises(KeyError):
        tape.backward(v, 1.0)[np.zeros(N)]


def test_changes_behind_the_tape_are_noticed():
    p, u, v = np.array([0.2, 0.3]), random(N), np.zeros(N)
    with nf.cuda.Tape() as tape:
        stencil[grid(u)](p, u, v)
        v[0] = 0.0
        with pytest.raises(RuntimeError, match="something else"):
            stencil[grid(u)](p, v, u)
    u[0] = 0.0
    with pytest.raises(RuntimeError, match="something else"):
        tape.backward(v, 1.0)


def test_arrays_that_overlap_are_refused():
    u, v = random(2 * N), np.zeros(2 * N)
    with nf.cuda.Tape():
        shift[grid(u)](u[:N], v[:N])
        with pytest.raises(ValueError, match="share memory"):
            shift[grid(u)](u[1 : N + 1], v[N:])
    with pytest.raises(ValueError, match="share memory"):
        nf.cuda.copy(u[1:], u[:-1])
    with pytest.raises(ValueError, match="same shape"):
        nf.cuda.copy(u, np.zeros(N))


def test_one_tape_at_a_time_and_in_its_thread():
    u, v = random(N), np.zeros(N)
    with nf.cuda.Tape() as tape:
        with pytest.raises(RuntimeError, match="active"), nf.cuda.Tape():
            pass
        other = threading.Thread(target=shift[grid(u)], args=(random(N), np.zeros(N)))
        other.start()
        other.join()
        shift[grid(u)](u, v)
    assert len(tape.held.arrays) == 2
    with nf.cuda.Tape(), pytest.raises(TypeError, match="vjp"):
        nf.cuda.emulate(nf.cuda.vjp(shift.kernel))[grid(u)](u, v)
