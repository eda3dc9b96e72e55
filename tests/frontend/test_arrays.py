"""Broadcasting, laziness, assignment, views: what array expressions become."""

import numpy as np
import pytest
from numba.core import types
from numba.core.registry import cpu_target
from numba.core.typing.arraydecl import get_array_index_type

from numbaflux.frontend.arrays import (
    Lazy,
    add_to,
    assign,
    copied,
    elementwise,
    lazy_elementwise,
    materialise,
    shape,
)
from numbaflux.frontend.indexing import get_items, set_items
from numbaflux.frontend.reductions import extreme_of, sum_of
from numbaflux.frontend.values import ir_type
from numbaflux.frontend.views import flipped, transposed, view, view_layout, without_tail
from numbaflux.ir.build import Builder, full_slice, index
from numbaflux.ir.nodes import (
    F32,
    F64,
    I64,
    Array,
    Block,
    Const,
    For,
    Load,
    Prim,
    Raise,
    Slice,
    Transpose,
    Var,
)
from numbaflux.ir.walk import walk
from tests.frontend.run import run, same


def matrix(*shape: int, order: str = "C") -> np.ndarray:
    n = int(np.prod(shape))
    return np.asarray(np.sin(np.arange(float(n))).reshape(shape), order=order)


def fused(b, x, y):
    return b.add(b.mul(x, y), x)


SHAPES = [
    ((3,), (3,)), ((3,), (1,)), ((1,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 1), (1, 3)),
    ((2, 1, 4), (3, 1)), ((0,), (1,)), ((1, 3), (0, 3)), ((1,), (1,)), ((2, 3), (1, 1, 1)),
    ((2, 3), ()), ((), (4,)), ((0,), (0,)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("lazy", [False, True])
def test_broadcasting(shapes, order, lazy):
    x, y = (matrix(*s, order=order) if s else 1.75 for s in shapes)
    expected = x * y + x
    write = lazy_elementwise if lazy else elementwise
    type = Array(F64, expected.ndim, order)
    same(run(lambda b, x, y: write(b, [x, y], type, fused), x, y), expected)


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((2, 3), (3, 2)), ((0,), (2,)), ((3, 2), (3,))])
def test_shapes_that_do_not_fit_raise(shapes):
    x, y = (matrix(*s) for s in shapes)
    with pytest.raises(ValueError, match="broadcast"):
        run(lambda b, x, y: elementwise(b, [x, y], Array(F64, x.type.ndim), fused), x, y)


def test_single_precision_stays_single():
    x = matrix(4).astype(np.float32)
    got = run(lambda b, x: elementwise(b, [x, x], Array(F32, 1), fused), x)
    same(got, x * x + x)


def test_one_array_needs_no_check_and_no_factor():
    b = Builder()
    x = Var("x", Array(F64, 2))
    elementwise(b, [x, x, Const(2.0)], Array(F64, 2), lambda b, x, y, c: b.mul(b.add(x, y), c))
    stmts = list(walk(Block((), tuple(b.stmts))))
    assert not any(isinstance(s, Raise) for s in stmts)
    assert [s.op for s in stmts if isinstance(s, Prim)] == ["add", "mul"]


def test_new_axis_of_length_one_reads_index_zero():
    b = Builder()
    x = Var("x", Array(F64, 1))
    column = view(b, x, [full_slice(), None])
    lazy = Lazy((*shape(b, x), index(1)), Array(F64, 2), lambda b, at: b.load(column, at))
    y = Var("y", Array(F64, 2))
    elementwise(b, [lazy, y], Array(F64, 2), fused)
    loads = [s for s in walk(Block((), tuple(b.stmts))) if isinstance(s, Load)]
    assert [s.index[1] for s in loads if s.array is column] == [index(0)]


def test_a_chain_of_lazy_expressions_is_one_loop():
    def build(b, x, y):
        product = lazy_elementwise(b, [x, y], Array(F64, 1), lambda b, x, y: b.mul(x, y))
        shifted = lazy_elementwise(
            b, [product, Const(1.0)], Array(F64, 1), lambda b, v, c: b.add(v, c)
        )
        return sum_of(b, shifted, F64)

    x, y = matrix(5), np.arange(5.0)
    same(run(build, x, y), np.sum(x * y + 1.0))
    b = Builder()
    build(b, Var("x", Array(F64, 1)), Var("y", Array(F64, 1)))
    assert sum(isinstance(s, For) for s in walk(Block((), tuple(b.stmts)))) == 1


def test_the_extreme_of_an_expression_is_one_element_of_it():
    x = matrix(7)
    got = run(
        lambda b, x: extreme_of(
            b, lazy_elementwise(b, [x], Array(F64, 1), lambda b, v: b.mul(v, v)), F64, "gt"
        ),
        x,
    )
    same(got, np.max(x * x))


def test_materialise_leaves_an_array_alone():
    x = matrix(3)
    assert run(lambda b, x: materialise(b, x), x) is x


# ---- assignment --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [matrix(2, 3), matrix(3), matrix(2, 1), matrix(1, 1, 3), 2.5])
def test_assignment_broadcasts(value):
    ours, theirs = matrix(2, 3) + 9.0, matrix(2, 3) + 9.0
    run(lambda b, out, v: assign(b, out, v), ours, value)
    theirs[...] = value
    same(ours, theirs)
    run(lambda b, out, v: add_to(b, out, v), ours, value)
    theirs += theirs
    same(ours, theirs)


@pytest.mark.parametrize("value", [matrix(3), matrix(3, 2), matrix(2, 1, 3)])
def test_assignment_of_what_does_not_fit_raises(value):
    target = matrix(2, 1)
    with pytest.raises(ValueError, match="broadcast"):
        run(lambda b, out, v: assign(b, out, v), target, value)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("put", [assign, add_to])
def test_overlapping_assignment_reads_before_it_writes(forward, put):
    early, late = Slice(None, index(-1)), Slice(index(1))

    def build(b, a):
        to, source = (late, early) if forward else (early, late)
        put(b, view(b, a, [to]), view(b, a, [source]), may_alias=True)

    ours, theirs = np.arange(6.0), np.arange(6.0)
    run(build, ours)
    to, source = (theirs[1:], theirs[:-1]) if forward else (theirs[:-1], theirs[1:])
    to[...] = source.copy() if put is assign else to + source
    same(ours, theirs)


def test_augmented_assignment_in_place():
    ours = matrix(2, 3)
    theirs = matrix(2, 3)
    row = np.array([2.0, 0.5, -1.0])
    got = run(
        lambda b, a, r: elementwise(b, [a, r], a.type, lambda b, x, y: b.mul(x, y), out=a),
        ours,
        row,
    )
    theirs *= row
    same(ours, theirs)
    assert got is ours


def test_assignment_casts_to_the_target():
    target = np.zeros(3, np.float32)
    run(lambda b, out, v: assign(b, out, v), target, matrix(3))
    same(target, matrix(3).astype(np.float32))


# ---- views -------------------------------------------------------------------------------------

FULL, STEP, PART = full_slice(), Slice(None, None, index(2)), Slice(index(1), index(3))
ITEMS = [
    (index(0),), (PART,), (STEP,), (index(0), PART), (index(0), STEP), (FULL, index(1)),
    (FULL, FULL), (PART, FULL), (FULL, PART), (index(0), FULL, FULL), (index(0), PART, FULL),
    (FULL, FULL, index(1)), (FULL, index(1), index(1)), (PART, index(0), index(1)), (None,),
    (FULL, None), (None, FULL), (index(0), None, PART), (PART, None), (STEP, None),
    (FULL, FULL, FULL), (index(0), index(1)), (None, index(0), index(0), PART),
]  # fmt: skip


def numba_item(item: object) -> types.Type:
    if isinstance(item, Slice):
        return types.slice2_type if item.step is None else types.slice3_type
    return types.none if item is None else types.intp


@pytest.mark.parametrize("items", ITEMS, ids=str)
@pytest.mark.parametrize("layout", "CFA")
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_view_types_are_numbas(items, layout, ndim):
    kept = sum(i is not None for i in items)
    if kept > ndim or (kept == ndim and all(isinstance(i, Const) for i in items)):
        return
    base = types.Array(types.float64, ndim, layout)
    index_type = types.BaseTuple.from_types([numba_item(i) for i in without_tail(items)])
    expected = get_array_index_type(base, index_type).result
    b = Builder()
    assert view(b, Var("a", ir_type(base)), items).type == ir_type(expected)
    assert sum(i is not None for i in b.stmts[0].how.items) == ndim


def test_whole_axes_at_the_end_of_an_index_do_not_count():
    rows = view(Builder(), Var("a", Array(F64, 3)), [PART, FULL, FULL])
    assert rows.type == Array(F64, 3, "C")


@pytest.mark.parametrize("layout", "CFA")
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_layout_of_a_transpose_is_numbas(layout, ndim):
    base = types.Array(types.float64, ndim, layout)
    cpu_target.typing_context.refresh()
    result = cpu_target.typing_context.resolve_getattr(base, "T")
    how = Transpose(tuple(range(ndim))[::-1])
    assert view_layout(ir_type(base), how) == result.layout


def test_views_alias():
    a = matrix(3, 4)
    for build, expected in (
        (lambda b, a: transposed(b, a), a.T),
        (lambda b, a: flipped(b, a, [0, 1]), a[::-1, ::-1]),
        (lambda b, a: view(b, a, [index(1), PART]), a[1, 1:3]),
    ):
        got = run(build, a)
        same(got, expected)
        assert np.shares_memory(got, a)


# ---- indexing with arrays ----------------------------------------------------------------------

T = np.arange(24.0).reshape(2, 3, 4)
ROWS, COLUMNS = np.array([1, 0, -1]), np.array([2, 3, 0])
SQUARE = np.array([[0, 1], [1, 0]])
MASK = np.array([True, False, True])
# what stands at each place: an array, an integer or a slice
ARRAYS = [
    (ROWS,), (FULL, ROWS), (FULL, FULL, COLUMNS), (ROWS, ROWS), (ROWS, ROWS, COLUMNS),
    (ROWS, FULL, COLUMNS), (SQUARE,), (FULL, SQUARE), (ROWS, index(2)), (index(1), FULL, COLUMNS),
    (index(1), ROWS), (FULL, MASK), (FULL, MASK, index(1)), (PART, ROWS), (None, ROWS),
    (FULL, ROWS, STEP), (SQUARE[:, :1], SQUARE), (ROWS.astype(np.int32),), (FULL, ~MASK),
    (np.zeros(0, np.int64),), (FULL, FULL, ROWS.astype(np.uint8) % 2),
]  # fmt: skip


def as_numpy(item):
    match item:
        case Slice(start, stop, step):
            return slice(*(None if p is None else p.value for p in (start, stop, step)))
        case Const():
            return item.value
    return item


def with_params(items, params):
    left = iter(params)
    return [next(left) if isinstance(i, np.ndarray) else i for i in items]


@pytest.mark.parametrize("items", ARRAYS, ids=range(len(ARRAYS)))
@pytest.mark.parametrize("base", [T, np.asfortranarray(T), T[::-1, ::-1]], ids=["C", "F", "A"])
def test_reading_with_index_arrays(items, base):
    where = tuple(map(as_numpy, items))
    expected = base[where]
    arrays = [i for i in items if isinstance(i, np.ndarray)]
    got = run(
        lambda b, a, *idx: get_items(b, a, with_params(items, idx), Array(F64, expected.ndim)),
        base,
        *arrays,
    )
    same(got, np.ascontiguousarray(expected))


@pytest.mark.parametrize("items", ARRAYS, ids=range(len(ARRAYS)))
@pytest.mark.parametrize("scalar", [True, False])
def test_writing_with_index_arrays(items, scalar):
    where = tuple(map(as_numpy, items))
    theirs, ours = T.copy(), T.copy()
    value = 99.5 if scalar else 100.0 + np.arange(float(T[where].size)).reshape(T[where].shape)
    arrays = [i for i in items if isinstance(i, np.ndarray)]
    theirs[where] = value
    run(lambda b, a, v, *idx: set_items(b, a, with_params(items, idx), v), ours, value, *arrays)
    same(ours, theirs)


def test_writing_through_an_overlapping_value():
    ours, theirs = np.arange(5.0), np.arange(5.0)
    idx = np.array([4, 3, 2, 1, 0])
    run(lambda b, a, i: set_items(b, a, [i], a, may_alias=True), ours, idx)
    theirs[idx] = theirs.copy()
    same(ours, theirs)


@pytest.mark.parametrize("idx", [np.array([0, 3]), np.array([-4]), np.array([True, False])])
def test_an_index_out_of_bounds_raises(idx):
    with pytest.raises(IndexError):
        run(lambda b, a, i: get_items(b, a, [i], Array(F64, 1)), np.arange(3.0), idx)


def test_counters_of_strided_views_stay_non_negative():
    b = Builder()
    a = Var("a", Array(F64, 1))
    elementwise(b, [flipped(b, a, [0])], Array(F64, 1), copied)
    block = Block((), tuple(b.stmts))
    (loop,) = (s for s in walk(block) if isinstance(s, For))
    (load,) = (s for s in walk(block) if isinstance(s, Load))
    assert load.index == (loop.body.params[0],)
    assert loop.body.params[0].type == I64
