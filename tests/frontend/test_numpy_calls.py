"""Every NumPy call that is read, against NumPy itself."""

from typing import Any

import numba as nb
import numpy as np
import pytest

from numbaflux.errors import UnsupportedError
from numbaflux.frontend.numpy_calls import METHODS, NUMPY
from numbaflux.frontend.values import Call, ListValue, RangeValue, ir_type
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import F64, I64, Array, Const, Loc, Var
from tests.frontend.run import call, run, same

V = np.array([0.5, -1.25, 3.0, 0.5, 2.0])
W = np.array([1.5, 0.25, -2.0, 4.0, 1.0])
M = np.linspace(-1.0, 2.0, 12).reshape(3, 4) ** 2 - 0.5
N = np.arange(20.0).reshape(4, 5) / 7.0
F = np.asfortranarray(M)
A = np.arange(48.0).reshape(6, 8)[::2, ::-2]  # strided, one axis backwards
T = np.sin(np.arange(24.0)).reshape(2, 3, 4)
V32 = V.astype(np.float32)
NAN = np.array([1.0, np.nan, -3.0, np.nan])
NONE = np.zeros(0)
IDX = np.array([3, 1, 4, 1, 5])
B = np.array([True, False, True, True, False])
TIES = np.array([[2.0, 5.0, 2.0], [5.0, 2.0, 5.0]])

PLAIN = [
    *[(f, (a,)) for f in (np.sum, np.mean, np.prod, np.var, np.std) for a in (V, M, F, A, T)],
    *[(f, (V32,)) for f in (np.sum, np.mean, np.prod, np.cumsum, np.diff, np.sort)],
    *[(f, (a,)) for f in (np.min, np.max, np.ptp) for a in (V, M, F, A, NAN, V32, IDX)],
    *[(f, (a,)) for f in (np.argmin, np.argmax) for a in (V, M, F, A, NAN, TIES, IDX)],
    *[(f, (a,)) for f in (np.any, np.all) for a in (B, V, NONE, IDX - 1, M > 9.0)],
    *[(np.count_nonzero, (a,)) for a in (B, V, NONE, IDX - 1, M > 1.0)],
    *[(f, (NONE,)) for f in (np.sum, np.prod, np.cumsum, np.sort, np.copy, np.diff, np.ravel)],
    *[(np.sum, (a,)) for a in (IDX, B)],
    (np.sum, ((0.5, 1.5, 2),)), (np.amin, (V,)), (np.amax, (V,)),
    (np.cross, (V[:3], W[:3])), (np.cross, (A[0, :3], IDX[1:4])),
    (np.trapezoid, (V,)), (np.trapezoid, (V, W)), (np.trapezoid, (V,), {"dx": 0.25}),
    (np.trapezoid, (NONE,)), (np.trapezoid, (V[:1].copy(),)),
    (np.average, (M,)),
    (np.dot, (V, W)), (np.dot, (M, N)), (np.dot, (F, N)), (np.dot, (A, N)), (np.dot, (N, V)),
    (np.dot, (np.arange(4.0), N)), (np.matmul, (M, N)), (np.vdot, (V, W)),
    (np.dot, (np.zeros((3, 0)), np.zeros((0, 2)))),
    (np.outer, (V, W)), (np.outer, (M, V)), (np.kron, (M, N)), (np.kron, (V, W)),
    (np.trace, (M,)), (np.trace, (M, 1)), (np.trace, (M, -2)), (np.trace, (M, 7)),
    (np.cumsum, (M,)), (np.cumsum, (A,)), (np.cumprod, (F,)),
    *[(np.linalg.norm, (a,)) for a in (V, M, F, A, V32)],
    *[(np.linalg.norm, (V, o)) for o in (1, 2, 3, 0, np.inf, -np.inf)],
    *[(np.linalg.norm, (A, o)) for o in (1, -1, np.inf, -np.inf)],
    (np.zeros, (3,)), (np.zeros, ((2, 3),)), (np.ones, ((2, 0, 3),)), (np.full, ((2, 2), 2.5)),
    *[(f, (a,)) for f in (np.zeros_like, np.ones_like) for a in (M, F, A, V32, IDX)],
    (np.full_like, (F, 1.5)), (np.full_like, (IDX, 2.75)),
    (np.arange, (5,)), (np.arange, (2, 9)), (np.arange, (9, 2, -2)), (np.arange, (5, 2)),
    (np.arange, (0.5, 4.0, 0.75)), (np.arange, (2.25,)), (np.arange, (4.0, 1.2, -0.5)),
    (np.linspace, (0.1, 0.7)), (np.linspace, (3.0, -2.0, 7)), (np.linspace, (0.3, 9.0, 1)),
    (np.linspace, (0.3, 9.0, 0)), (np.linspace, (0, 1, 3)),
    (np.eye, (3,)), (np.eye, (3, 5, 1)), (np.eye, (4, 3, -2)), (np.eye, (2, 2, 5)),
    (np.identity, (4,)),
    (np.diag, (V,)), (np.diag, (V, 2)), (np.diag, (V, -1)), (np.diag, (M,)), (np.diag, (A, 1)),
    (np.diag, (M, -2)), (np.diag, (M, 9)),
    *[(f, (a, k)) for f in (np.tril, np.triu) for a in (M, A, N) for k in (-2, 0, 1, 9)],
    (np.array, (M,)), (np.array, ((1.5, 2, -3.0),)), (np.array, (((1, 2), (3, 4)),)),
    (np.array, ((V, W),)), (np.copy, (A,)), (np.copy, (F,)), (np.asarray, (V,)),
    (np.asarray, ((1.0, 2.0),)), (np.ascontiguousarray, (A,)), (np.ascontiguousarray, (F,)),
    (np.asfortranarray, (M,)),
    (np.clip, (V, 0.0, 2.0)), (np.clip, (M, None, 0.25)), (np.clip, (V, 0.75, None)),
    (np.clip, (NAN, 0.0, 2.0)), (np.clip, (V, W, 2.5)),
    (np.where, (B, V, W)), (np.where, (B, V, 0.0)), (np.where, (M > 0, M, np.arange(4.0))),
    (np.where, (IDX, V32, V)),
    (np.concatenate, ((V, W),)), (np.concatenate, ((M, F, A),)), (np.concatenate, ((V, IDX),)),
    (np.concatenate, ((M, A), 1)), (np.concatenate, ((T, T), -1)), (np.concatenate, ((V, NONE),)),
    (np.stack, ((V, W),)), (np.stack, ((V, W), 1)), (np.stack, ((M, A), 1)),
    (np.stack, ((M, A), -1)),
    *[(f, ((V, W),)) for f in (np.hstack, np.vstack, np.column_stack, np.dstack)],
    *[(f, ((M, A),)) for f in (np.hstack, np.vstack, np.column_stack, np.dstack)],
    (np.column_stack, ((V, N.T.copy()),)), (np.vstack, ((M, np.arange(4.0)),)),
    (np.append, (V, W)), (np.append, (V, 2.5)), (np.append, (M, A)), (np.append, (M, A, 0)),
    (np.repeat, (V, 3)), (np.repeat, (M, 2)), (np.repeat, (V, 0)), (np.repeat, (V, IDX)),
    *[(np.roll, (a, k)) for a in (V, M, A, NONE) for k in (0, 1, -2, 13)],
    (np.diff, (V,)), (np.diff, (M,)), (np.diff, (V, 2)), (np.diff, (A, 0)), (np.diff, (V, 7)),
    (np.reshape, (M, (4, 3))), (np.reshape, (M, 12)), (np.reshape, (T, (-1, 6))),
    (np.reshape, (V, (1, -1))), (np.reshape, (NONE, (0, 3))),
    *[(np.ravel, (a,)) for a in (V, M, F, A, T)],
    *[(np.transpose, (a,)) for a in (V, M, F, A, T)],
    (np.transpose, (T, (1, 2, 0))), (np.swapaxes, (T, 0, -1)),
    (np.flip, (V,)), (np.flip, (M,)), (np.flipud, (M,)), (np.fliplr, (A,)),
    (np.expand_dims, (V, 1)), (np.expand_dims, (M, 0)), (np.expand_dims, (V, -1)),
    (np.atleast_1d, (V,)), (np.atleast_2d, (V,)), (np.atleast_2d, (A,)), (np.atleast_1d, (2.5,)),
    *[(np.sort, (a,)) for a in (V, A[0], NAN, IDX, TIES[0])],
    (np.argsort, (W,)), (np.argsort, (IDX,), {"kind": "mergesort"}), (np.argsort, (A[1],)),
    (np.searchsorted, (np.sort(V), 0.5)), (np.searchsorted, (np.sort(V), W)),
    (np.searchsorted, (np.sort(V), 0.5, "right")), (np.searchsorted, (np.sort(IDX), M)),
    (np.searchsorted, (np.sort(V), W), {"side": "right"}),
    (np.interp, (0.3, np.sort(W), V)), (np.interp, (M, np.sort(W), V)),
    (np.interp, (np.array([-9.0, -2.0, 1.5, 4.0, 9.0, np.nan]), np.sort(W), V)),
    (np.interp, (V, np.array([1.0]), np.array([7.0]))), (np.interp, (V32, np.arange(5.0), IDX)),
    (np.nonzero, (IDX - 1,)), (np.nonzero, (M > 1.0,)), (np.flatnonzero, (A > 20.0,)),
    (np.take, (V, IDX - 1)), (np.take, (M, IDX)), (np.take, (M, 7)),
    (np.take, (M, np.array([2, 0]), 0)),
    (np.take, (A, np.array([-1, 0]), 1)), (np.take, (M, 1), {"axis": 1}),
    (np.bincount, (IDX,)), (np.bincount, (IDX, V)), (np.bincount, (IDX,), {"minlength": 9}),
    (np.bincount, (np.zeros(0, np.int64),)),
    *[(np.sum, (a, k)) for a in (M, F, A, np.zeros((0, 3))) for k in (0, 1, -1)],
    *[(f, (T, k)) for f in (np.sum, np.mean, np.prod, np.var, np.std) for k in (0, 1, 2)],
    *[(f, (T, k)) for f in (np.argmin, np.argmax, np.min, np.max) for k in (0, 1, 2)],
    *[(f, (TIES, k)) for f in (np.argmin, np.argmax) for k in (0, 1)],
    *[(f, (M > 0.4, k)) for f in (np.any, np.all, np.count_nonzero) for k in (0, 1)],
    (np.sum, (V, 0)), (np.cumsum, (M, 0)), (np.cumsum, (M, 1)),
    (np.sum, (V32,), {"dtype": np.float64}),
    (np.average, (V,), {"weights": W}),
]  # fmt: skip


def _name(case: Any) -> str:
    return f"{case[0].__name__}"


@pytest.mark.parametrize("case", PLAIN, ids=_name)
def test_function(case):
    f, args, *rest = case
    kwargs = rest[0] if rest else {}
    expected = f(*args, **kwargs)
    same(call(NUMPY[f], args, kwargs, expected), expected)


BY_METHOD = [
    *[("sum", (a,), {}) for a in (V, M, F)], ("sum", (M, 1), {}), ("sum", (M,), {"axis": 0}),
    *[(m, (A,), {}) for m in ("mean", "prod", "var", "std", "min", "max", "argmin", "argmax")],
    ("any", (B,), {}), ("all", (B,), {}), ("dot", (M, N), {}), ("cumsum", (V,), {}),
    ("cumprod", (V,), {}), ("copy", (A,), {}), ("astype", (V, np.float32), {}),
    ("astype", (V, np.int64), {}), ("item", (np.array([2.5]),), {}), ("flatten", (F,), {}),
    ("ravel", (A,), {}), ("reshape", (M, 2, 6), {}), ("reshape", (M, (2, -1)), {}),
    ("transpose", (M,), {}), ("transpose", (T, 2, 0, 1), {}), ("transpose", (T, (2, 0, 1)), {}),
    ("repeat", (V, 2), {}), ("take", (V, IDX - 1), {}), ("argsort", (W,), {}),
    ("nonzero", (IDX - 1,), {}), ("clip", (V, 0.0, 1.0), {}),
]  # fmt: skip


@pytest.mark.parametrize("name, args, kwargs", BY_METHOD, ids=str)
def test_method(name, args, kwargs):
    expected = getattr(args[0], name)(*args[1:], **kwargs)
    same(call(METHODS[name], args, kwargs, expected), expected)


@pytest.mark.parametrize("name, args", [("fill", (2.5,)), ("sort", ())])
@pytest.mark.parametrize("a", [V, V32, A[2]], ids=["v", "v32", "strided"])
def test_method_in_place(name, args, a):
    ours, theirs = np.tile(a, 1), np.tile(a, 1)
    assert call(METHODS[name], (ours, *args), {}, None) is None
    getattr(theirs, name)(*args)
    same(ours, theirs)


@pytest.mark.parametrize(
    "f, args, like, kind",
    [
        (np.dot, (M, V), V, ValueError),
        (np.dot, (V, V[1:].copy()), 1.0, ValueError),
        (np.concatenate, ((M, N),), M, ValueError),
        (np.max, (NONE,), 1.0, ValueError),
        (np.argmin, (NONE,), 1, ValueError),
        (np.max, (np.zeros((2, 0)),), 1.0, ValueError),
        (np.where, (B, V, W[1:].copy()), V, ValueError),
        (np.take, (V, np.array([0, 5])), V, IndexError),
        (np.take, (V, -6), 1.0, IndexError),
        (np.repeat, (V, -1), V, ValueError),
        (np.bincount, (IDX - 2,), IDX, ValueError),
        (np.interp, (V, W, V[1:].copy()), V, ValueError),
        (np.reshape, (V, (2, 2)), M, ValueError),
        (np.reshape, (V, (2, -1)), M, ValueError),
        (np.arange, (0.0, 1.0, 0.0), V, ValueError),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_raises_as_numpy_does(f, args, like, kind):
    with pytest.raises(kind):
        call(NUMPY[f], args, {}, like)


def test_views_share_memory_and_copies_do_not():
    for f in (np.transpose, np.flip, np.ravel, np.atleast_1d, np.asarray):
        assert np.shares_memory(call(NUMPY[f], (M,), {}, f(M)), M), f
    for f in (np.array, np.copy, np.sort, np.diag):
        assert not np.shares_memory(call(NUMPY[f], (V,), {}, f(V)), V), f
    assert not np.shares_memory(call(METHODS["flatten"], (V,), {}, V), V)
    assert not np.shares_memory(call(NUMPY[np.ravel], (F,), {}, F.ravel()), F)


@pytest.mark.parametrize("f", [np.array, np.sum, np.max, np.sort])
def test_a_list_of_numbers_is_an_array(f):
    def build(b):
        cells = b.alloc([index(0)], Array(F64, 1, grows=True))
        length = b.alloc([index(1)], Array(I64, 1))
        for k in range(len(V)):
            b.store(cells, [index(k)], Const(float(V[k])))
        b.store(length, [index(0)], index(len(V)))
        seen = Call((ListValue(cells, length),), {}, nb.typeof(f(V)))
        return NUMPY[f](b, seen)

    same(run(build), f(V))


def test_out_arguments():
    for f, args in ((np.dot, (M, N)), (np.dot, (N, V)), (np.outer, (V, W))):
        expected = f(*args)
        out = np.full_like(expected, 7.0)
        assert call(NUMPY[f], (*args, out), {}, expected) is out
        same(out, expected)


def unsupported(f, args, kwargs, type) -> UnsupportedError:
    h = NUMPY[f] if callable(f) else METHODS[f]
    with pytest.raises(UnsupportedError) as e:
        h(Builder(), Call(args, kwargs, type, Loc("user.py", 12, "f")))
    return e.value


def test_what_is_unsupported_says_where_and_what_instead():
    array = nb.float64[:, ::1]
    m, k = Var("m", ir_type(array)), Var("k", I64)
    for f, args, kwargs in (
        (np.sum, (m,), {"where": m}),
        (np.sum, (m, k), {}),
        (np.sort, (m,), {}),
        (np.where, (m,), {}),
        (np.linalg.norm, (m, k), {}),
        (np.reshape, (Var("f", ir_type(nb.float64[::1, :])), k), {}),
        (np.concatenate, (m,), {}),
        ("sum", (m,), {"keepdims": k}),
        (np.sum, (RangeValue(k, k, k),), {}),
    ):
        e = unsupported(f, args, kwargs, array)
        assert e.loc == Loc("user.py", 12, "f")
        assert e.why and e.instead
        assert e.what.startswith("`np." if callable(f) else "`.")
