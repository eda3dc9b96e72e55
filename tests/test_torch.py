"""Kernels as operations of PyTorch's, on tensors of the CPU."""

import numpy as np
import pytest
from numba import cuda, float64

import numbaflux as nf

torch = pytest.importorskip("torch")

THREADS = 8


@cuda.jit
def damp(p, x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = p[0] * x[i] * x[(i + 1) % x.size] + p[1] * y[i]


@cuda.jit
def mix(p, x, y, z):
    i = cuda.grid(1)
    if i < x.size:
        z[i] = p[0] * x[i] * x[(i + 1) % x.size] + p[1] * y[i]


@cuda.jit
def square(x):
    """In place."""
    i = cuda.grid(1)
    if i < x.size:
        x[i] = x[i] * x[i]


@cuda.jit
def total(x, out):
    part = cuda.shared.array(THREADS, float64)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    part[t] = x[i] * x[i] if i < x.size else 0.0
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            part[t] += part[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        cuda.atomic.add(out, 0, part[0])


@cuda.jit
def picked(both, index, out):
    i = cuda.grid(1)
    if i < out.size:
        out[i] = both[0][index[i]] * both[1][i]


DAMP, MIX, SQUARE, TOTAL, PICKED = map(nf.torch.kernel, (damp, mix, square, total, picked))


def tensor(*shape, seed=0):
    made = np.random.default_rng(seed).random(shape)
    return torch.tensor(made, requires_grad=True)


def loss(p, x):
    """Launches and operations of PyTorch's, one after the other."""
    y = torch.sin(x).clone()
    grid = (-(-x.numel() // THREADS), THREADS)
    DAMP[grid](p, x, y)
    return mixed(p, 1.0 + x, y)


def mixed(p, x, y):
    """Nothing that the reverse needs is overwritten."""
    grid, z, out = (-(-x.numel() // THREADS), THREADS), torch.empty_like(x), torch.zeros(1)
    out = out.to(x.dtype)
    MIX[grid](p, x, y, z)
    TOTAL[grid](z, out)
    return out


def same(p, x):
    y = torch.sin(x)
    for z in (x, 1.0 + x):
        y = p[0] * z * torch.roll(z, -1) + p[1] * y
    return (y * y).sum().reshape(1)


def test_gradient():
    p, x = tensor(2), tensor(13, seed=1)
    value, expected = loss(p, x), same(p, x)
    torch.testing.assert_close(value, expected)
    for a, b in zip(torch.autograd.grad(value, (p, x)), torch.autograd.grad(expected, (p, x))):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradcheck_twice():
    inputs = tensor(2), tensor(9, seed=1), tensor(9, seed=2)
    assert torch.autograd.gradcheck(mixed, inputs)
    assert torch.autograd.gradgradcheck(mixed, inputs)


def test_no_copy_and_no_gradient():
    x, y = torch.arange(5.0), torch.ones(5)
    address = y.data_ptr()
    DAMP[1, 8](torch.tensor([2.0, 0.5]), x, y)
    assert y.data_ptr() == address and y._version == 1 and not y.requires_grad
    torch.testing.assert_close(y, 2.0 * x * torch.roll(x, -1) + 0.5)
    with torch.no_grad():
        leaf = tensor(3)
        SQUARE[1, 8](leaf)
    assert leaf.grad_fn is None


def test_float32_and_strides():
    big = torch.rand(7, 2, generator=torch.Generator().manual_seed(1), requires_grad=True)
    x, p = big[:, 0], torch.tensor([1.5, 0.0])
    y = torch.zeros(2, 7)[1]
    DAMP[1, 8](p, x, y)
    (found,) = torch.autograd.grad(y.sum(), big)
    (wanted,) = torch.autograd.grad((1.5 * x * torch.roll(x, -1)).sum(), big)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted)


def test_tuples_and_integers():
    a, b = tensor(4), tensor(4, seed=2)
    index, out = torch.tensor([1, 1, 3, 0]), torch.zeros(4, dtype=torch.float64)
    PICKED[1, 8]((a, b), index, out)
    for x, y in zip(torch.autograd.grad(out.sum(), (a, b)),
                    torch.autograd.grad((a[index] * b).sum(), (a, b))):  # fmt: skip
        torch.testing.assert_close(x, y)


def test_in_place_twice():
    """What the kernel overwrites is recorded; that record has no derivative."""
    x = tensor(5)
    y = x.clone()
    SQUARE[1, 8](y)
    SQUARE[1, 8](y)
    (found,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    torch.testing.assert_close(found, 4.0 * x.detach() ** 3)
    with pytest.raises(nf.NotDifferentiableError, match="overwrites what its reverse needs"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_pytorch_sees_what_is_changed():
    p, x, y = tensor(2), tensor(5), torch.ones(5, dtype=torch.float64)
    z = x.clone()
    DAMP[1, 8](p, z, y)
    SQUARE[1, 8](z)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="in-place"):
        SQUARE[1, 8](tensor(3))


def test_what_is_refused():
    x = torch.ones(3)
    with pytest.raises(TypeError, match="without axes"):
        DAMP[1, 8](torch.tensor(1.0), x, x.clone())
    with pytest.raises(TypeError, match="not {'meta'}"):
        SQUARE[1, 8](torch.ones(3, device="meta"))
    with pytest.raises(ValueError, match="share memory"):
        DAMP[1, 8](torch.ones(2), x, x)
