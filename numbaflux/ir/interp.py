"""The oracle: runs any IR on NumPy scalars and arrays, slowly and obviously.

It tells a wrong transform from a wrong writer: whatever compiled code computes must be this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np

from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Call,
    Const,
    Custom,
    Dim,
    Extern,
    For,
    Function,
    Gemm,
    Global,
    How,
    If,
    Index,
    Load,
    Prim,
    Print,
    Raise,
    Reshape,
    Scalar,
    Shuffle,
    Slice,
    Stmt,
    Store,
    Transpose,
    Type,
    Var,
    View,
    While,
)
from numbaflux.ir.ops import OPS, ROUTINES


def interpret(fn: Function, args: Sequence) -> tuple:
    """The results of fn(*args); arrays among the arguments are used, and written, in place."""
    env: dict[Var, Any] = {}
    for param, value in zip(fn.params, args, strict=True):
        env[param] = _of_type(value, param.type)
    with np.errstate(all="ignore"):
        return _block(fn.block, env)


class Growing:
    """A one-dimensional array that a store past its end extends, with zeros up to there."""

    def __init__(self, size: int, element: Type) -> None:
        self.element = element
        self.items: list[Any] = [self._nothing()] * size

    @property
    def shape(self) -> tuple[int]:
        return (len(self.items),)

    def __getitem__(self, index: tuple[int]) -> Any:
        return self.items[index[0]]

    def __setitem__(self, index: tuple[int], value: Any) -> None:
        missing = index[0] + 1 - len(self.items)
        self.items += [self._nothing()] * missing
        self.items[index[0]] = value

    def accumulate(self, i: int, value: Any) -> None:
        if i >= len(self.items):
            self[(i,)] = self._nothing()
        self.items[i] = _of_type(self.items[i] + value, self.element)

    def _nothing(self) -> Any:
        return _of_type(0, self.element) if isinstance(self.element, Scalar) else None


def _of_type(value: Any, type: Type) -> Any:
    if not isinstance(type, Scalar):
        return value
    if type.lanes:
        return np.array(np.broadcast_to(value, type.lanes), dtype=type.numpy)
    return type.numpy.type(value)


def lanes_of(type: Type) -> int:
    """How many lanes a value, or an element of an array, has; 0 for a plain one."""
    match type:
        case Array(element):
            return lanes_of(element)
        case Scalar():
            return type.lanes
        case _:
            return 0


def _value(a: Atom, env: dict[Var, Any]) -> Any:
    match a:
        case Var():
            return env[a]
        case Const(value, type):
            return _of_type(value, type)
        case Global():
            return a.value
        case _:
            assert_never(a)


def _block(block: Block, env: dict[Var, Any]) -> tuple:
    for stmt in block.stmts:
        _run(stmt, env)
    return tuple(_value(a, env) for a in block.yields)


def _run(stmt: Stmt, env: dict[Var, Any]) -> None:
    def get(a: Atom) -> Any:
        return _value(a, env)

    def place(index: tuple[Atom, ...]) -> tuple[int, ...]:
        return tuple(int(get(i)) for i in index)

    match stmt:
        case Prim(result, args=args):
            env[result] = _of_type(_prim(stmt, [get(a) for a in args]), result.type)
        case Extern(results, routine, args):
            found = ROUTINES[routine].value(*map(get, args))
            found = found if len(results) != 1 else (found,)
            env.update((r, _of_type(v, r.type)) for r, v in zip(results, found, strict=True))
        case Custom(results, rules, args):
            found = interpret(rules.primal, [get(a) for a in args])
            env.update(zip(results, found, strict=True))
        case Call(results, callee, args):
            found = interpret(callee.function, [get(a) for a in args])
            env.update(zip(results, found, strict=True))
        case Alloc(result, shape, zero):
            env[result] = _alloc(result.type, place(shape), zero)
        case Load(result, array, index):
            env[result] = _of_type(_element(get(array), place(index)), result.type)
        case Store(array, index, value):
            get(array)[place(index)] = get(value)
        case Accumulate(array, index, value):
            base = get(array)
            if isinstance(base, Growing):
                base.accumulate(place(index)[0], get(value))
            else:
                base[place(index)] += get(value)
        case View(result, base, how):
            env[result] = _view(get(base), how, lanes_of(base.type), env)
        case Dim(result, array, axis):
            base = get(array)
            size = len(base) if isinstance(base, list) else base.shape[axis]
            env[result] = _of_type(size, result.type)
        case Gemm(out, a, b):
            _gemm(stmt, get(out), get(a), get(b))
        case If(results, cond, then, orelse):
            env.update(zip(results, _block(then if get(cond) else orelse, env), strict=True))
        case For():
            _for(stmt, env)
        case While(results, inits, body):
            go, carried = True, tuple(map(get, inits))
            while go:
                env.update(zip(body.params, carried, strict=True))
                go, *carried = _block(body, env)
            env.update(zip(results, carried, strict=True))
        case Barrier() | Atomic() | Shuffle():
            raise NotImplementedError("the interpreter is one thread: kernels are emulated")
        case Raise(cond, exception, args):
            if get(cond):
                raise exception(*map(get, args))
        case Print(args):
            print(*map(get, args))
        case _:
            assert_never(stmt)


def _prim(stmt: Prim, values: list[Any]) -> Any:
    """A primitive of numbers; of lanes it is done lane by lane."""
    value, width = OPS[stmt.op].value, lanes_of(stmt.result.type)
    if not width:
        return value(*values)
    if stmt.op == "unit":
        return [values[0] == lane for lane in range(width)]
    wide = [lanes_of(a.type) > 0 for a in stmt.args]
    return [
        value(*(v[lane] if w else v for v, w in zip(values, wide, strict=True)))
        for lane in range(width)
    ]


def _gemm(stmt: Gemm, out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    if not lanes_of(stmt.out.type):
        out[...] += a @ b
        return
    for lane in range(lanes_of(stmt.out.type)):
        left, right = (
            m[..., lane] if lanes_of(t) else m for m, t in ((a, stmt.a.type), (b, stmt.b.type))
        )
        out[..., lane] += left @ right


def _for(stmt: For, env: dict[Var, Any]) -> None:
    k, *params = stmt.body.params
    carried = tuple(_value(a, env) for a in stmt.inits)
    for trip in range(int(_value(stmt.count, env))):
        env[k] = _of_type(trip, k.type)
        env.update(zip(params, carried, strict=True))
        carried = _block(stmt.body, env)
    env.update(zip(stmt.results, carried, strict=True))


def _element(array: Any, index: tuple[int, ...]) -> Any:
    return array[index[0]] if isinstance(array, list) else array[index]


def _alloc(type: Type, shape: tuple[int, ...], zero: bool) -> Any:
    assert isinstance(type, Array)
    if type.grows:
        return Growing(shape[0], type.element)
    if isinstance(type.element, Array):
        return np.empty(shape, dtype=object)
    order = "F" if type.layout == "F" else "C"
    shape += (lanes_of(type),) if lanes_of(type) else ()
    array = np.zeros(shape, dtype=type.element.numpy, order=order)
    if not zero and type.is_float:
        array[...] = np.nan  # whoever reads before a store sees it
    return array


def _view(base: np.ndarray, how: How, lanes: int, env: dict[Var, Any]) -> np.ndarray:
    def number(a: Atom | None) -> int | None:
        return None if a is None else int(_value(a, env))

    match how:
        case Index(items):
            return base[
                tuple(
                    slice(number(i.start), number(i.stop), number(i.step))
                    if isinstance(i, Slice)
                    else number(i)
                    for i in items
                )
            ]
        case Transpose(axes):
            return base.transpose((*axes, len(axes)) if lanes else axes)
        case Reshape(shape):
            last = (lanes,) if lanes else ()
            result = base.reshape((*(int(_value(a, env)) for a in shape), *last))
            assert result.size == 0 or np.shares_memory(result, base), "a reshape must not copy"
            return result
        case _:
            assert_never(how)
