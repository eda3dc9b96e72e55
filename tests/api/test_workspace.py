"""Gradients that use the same memory again: who gets what, and that nobody else has it."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit, prange

import numbaflux as nf
from numbaflux.api.workspace import ALIGNMENT, Workspace

LONG = 200_000  # steps that keep more than a megabyte


@njit
def chain(x, n):
    for _ in range(n):
        x = x * (2.0 - x * x)
        if x > 1e6:
            raise ValueError("too far")
    return x


def filtered(x, a):
    """Overwrites a copy, in a loop that carries."""
    y = x.copy()
    for i in range(1, len(y)):
        y[i] = np.sin(y[i]) + a * y[i - 1] * y[i]
    return np.sum(y * y)


def test_the_same_memory_again_and_the_same_numbers():
    ws = nf.Workspace()
    gradient = nf.grad(chain, workspace=ws)
    assert gradient(0.3, 1000) == nf.grad(chain)(0.3, 1000)
    assert ws.nbytes == 0  # too little for it
    for n in (LONG, LONG, 2 * LONG, LONG):
        assert gradient(0.3, n) == nf.grad(chain)(0.3, n)
    assert ws.nbytes == 16 * LONG
    ws.clear()
    assert ws.nbytes == 0
    assert gradient(0.3, LONG) == nf.grad(chain)(0.3, LONG)


def test_results_lie_elsewhere():
    ws = nf.Workspace()
    x = np.linspace(0.1, 0.9, LONG)
    gradient, plain = nf.grad(filtered, (0, 1), workspace=ws), nf.grad(filtered, (0, 1))
    d_x, d_a = gradient(x, 0.3)
    blocks = [b.memory for b in ws._blocks]
    assert blocks and all(b.holder() is None for b in ws._blocks)
    assert not any(np.may_share_memory(d_x, memory) for memory in blocks)
    before = d_x.copy()
    gradient(2.0 * x, 0.1)
    np.testing.assert_array_equal(d_x, before)
    np.testing.assert_array_equal(d_x, plain(x, 0.3)[0])
    assert d_a == plain(x, 0.3)[1]


def test_types_layouts_and_order_two():
    ws = nf.Workspace()
    x = np.asfortranarray(np.linspace(0.1, 1.4, 2 * LONG, dtype=np.float32).reshape(2, LONG))

    def rows(x):
        y, s = x.copy(), np.float32(0)
        for k in range(1, x.shape[1]):
            for i in range(2):
                y[i, k] = y[i, k] * y[i, k - 1] + np.float32(0.1)
            s += y[0, k] * y[1, k]
        return s

    found = nf.grad(rows, workspace=ws)(x)
    np.testing.assert_array_equal(found, nf.grad(rows)(x))
    assert ws.nbytes > 0 and found.dtype == np.float32
    assert nf.grad(nf.grad(chain, workspace=ws))(0.3, LONG) == nf.grad(nf.grad(chain))(0.3, LONG)


def test_threads_and_compiled_code():
    ws = nf.Workspace()
    gradient, plain = nf.grad(chain, workspace=ws), nf.grad(chain)

    @njit(nogil=True)
    def several(x):
        s = 0.0
        for k in range(3):
            s += gradient(x + 0.01 * k, LONG)
        return s

    @njit(parallel=True)
    def at_once(x):
        found = np.empty(4)
        for k in prange(4):
            found[k] = gradient(x + 0.01 * k, LONG)
        return found

    starts = np.linspace(0.1, 0.8, 8)
    expected = [sum(plain(x + 0.01 * k, LONG) for k in range(3)) for x in starts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(several, starts)) == pytest.approx(expected, rel=1e-14)
    np.testing.assert_array_equal(at_once(0.2), [plain(0.2 + 0.01 * k, LONG) for k in range(4)])
    assert 8 * LONG <= ws.nbytes <= 8 * 8 * LONG


def test_after_an_error():
    ws = nf.Workspace()
    gradient = nf.grad(chain, workspace=ws)
    with pytest.raises(ValueError, match="too far"):
        gradient(-10.0, LONG)
    assert gradient(0.3, LONG) == nf.grad(chain)(0.3, LONG)


def test_an_error_of_its_own(monkeypatch):
    gradient = nf.grad(chain, workspace=nf.Workspace())

    def refuse(self, size):
        raise MemoryError(f"{size} bytes")

    monkeypatch.setattr(Workspace, "take", refuse)
    with pytest.raises(MemoryError, match=f"{8 * LONG} bytes"):
        gradient(0.3, LONG)


def test_who_gets_which_memory(monkeypatch):
    ws = nf.Workspace()
    a, b = ws.take(100), ws.take(1000)
    assert a.ctypes.data % ALIGNMENT == 0 and len(a) == 100 and ws.nbytes == 1100
    assert not np.may_share_memory(a, b)
    view, where, longer = a[10:20], a.ctypes.data, b.ctypes.data
    del a
    assert ws.take(100).ctypes.data != where  # a view is still there
    del view
    ws.take(100)
    assert ws.nbytes == 1200
    del b
    assert ws.take(500).ctypes.data == longer  # the shortest that is long enough
    assert ws.nbytes == 1200
    longer = ws.take(5000)  # takes the place of one that is too short
    assert ws.nbytes == 5000 + 200
    ws.clear()
    longer[:] = 1
    assert ws.nbytes == 0 and longer.all()

    def no_room(*args):
        raise MemoryError

    kept = ws.take(10)
    monkeypatch.setattr(np, "empty", no_room)
    with pytest.raises(MemoryError):
        ws.take(10**6)
    assert ws.nbytes == 10 and len(kept) == 10


def test_options_and_copies():
    ws = nf.Workspace()
    assert pickle.loads(pickle.dumps(ws)) is ws
    data = pickle.dumps(nf.Workspace())
    elsewhere = pickle.loads(data)  # its own is gone
    assert isinstance(elsewhere, Workspace) and pickle.loads(data) is elsewhere is not ws
    gradient = nf.grad(chain, workspace=ws, cache=True)
    assert gradient(0.3, LONG) == nf.grad(chain)(0.3, LONG)
    assert not gradient.stats.cache_misses and not gradient.stats.cache_hits
    with pytest.raises(TypeError, match="workspace is a Workspace, not 3"):
        nf.grad(chain, workspace=3)
    assert "workspace" not in nf.source(nf.grad(lambda x: x * x, workspace=ws), 2.0)
