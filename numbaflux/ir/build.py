"""Writing IR: a builder that appends statements and folds what is known when it is written.

    b = Builder()
    y = b.add(b.mul(x, x), b.load(a, [i]))
    with b.for_(n, [zero]) as loop:            # loop.k, loop.carried, loop.yields = [...]
        loop.yields = [b.add(loop.carried[0], y)]
    total, = loop.results

Every method returns an atom; the statement it appends carries the builder's current `loc`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from numbaflux.ir.nodes import (
    BOOL,
    F64,
    I64,
    NOWHERE,
    Accumulate,
    Alloc,
    Array,
    Atom,
    Block,
    Const,
    Dim,
    Extern,
    For,
    Function,
    Gemm,
    Global,
    How,
    If,
    Item,
    Load,
    Loc,
    Prim,
    Print,
    Raise,
    Scalar,
    Slice,
    Stmt,
    Store,
    Transpose,
    Type,
    Var,
    View,
    While,
)
from numbaflux.ir.ops import OPS
from numbaflux.ir.walk import clone

TRUTHS = {"eq", "ne", "lt", "le", "gt", "ge", "not", "and", "or", "isnan", "isinf", "isfinite"}


def const(value: float | int | bool | np.number | np.bool_, type: Type = F64) -> Const:
    """A constant of the given scalar type, its value converted to it."""
    assert isinstance(type, Scalar)
    return Const(type.numpy.type(value).item(), type)


def index(value: int) -> Const:
    return Const(value, I64)


def zero_of(type: Type) -> Const:
    return const(0, type)


def var_of(a: Atom) -> Var:
    assert isinstance(a, Var), f"{a} is not a variable"
    return a


def array_of(a: Atom) -> Array:
    assert isinstance(a.type, Array), f"{a} is not an array"
    return a.type


@dataclass
class Region:
    """A region while it is written; set `yields` before leaving the `with`."""

    params: tuple[Var, ...] = ()
    yields: Sequence[Atom] = ()
    results: tuple[Var, ...] = ()

    @property
    def k(self) -> Var:
        return self.params[0]

    @property
    def carried(self) -> tuple[Var, ...]:
        return self.params[1:]


@dataclass
class Arm(Region):
    """An arm of an If; `block` is there after the `with`."""

    block: Block = field(default_factory=Block)


class Builder:
    """Appends statements to a block being written."""

    def __init__(self, loc: Loc = NOWHERE) -> None:
        self.loc = loc
        self.stmts: list[Stmt] = []

    def append(self, stmt: Stmt) -> None:
        self.stmts.append(stmt)

    def block(self, params: Sequence[Var] = (), yields: Sequence[Atom] = ()) -> Block:
        return Block(tuple(params), tuple(self.stmts), tuple(yields))

    # ---- scalars -------------------------------------------------------------------------------

    def prim(self, op: str, *args: Atom, type: Type | None = None, name: str = "t") -> Atom:
        """op(args), folded if it is known; `type` defaults to that of the first argument."""
        if type is None:
            type = BOOL if op in TRUTHS else args[1 if op == "select" else 0].type
        folded = fold(op, args, type)
        if folded is not None:
            return folded
        result = Var(name, type)
        self.append(Prim(result, op, args, self.loc))
        return result

    def add(self, x: Atom, y: Atom, name: str = "t") -> Atom:
        return self.prim("add", x, y, name=name)

    def sub(self, x: Atom, y: Atom, name: str = "t") -> Atom:
        return self.prim("sub", x, y, name=name)

    def mul(self, x: Atom, y: Atom, name: str = "t") -> Atom:
        return self.prim("mul", x, y, name=name)

    def neg(self, x: Atom, name: str = "t") -> Atom:
        return self.prim("neg", x, name=name)

    def cast(self, x: Atom, type: Type, name: str = "t") -> Atom:
        return self.prim("cast", x, type=type, name=name)

    def select(self, cond: Atom, x: Atom, y: Atom, name: str = "t") -> Atom:
        return self.prim("select", cond, x, y, name=name)

    def extern(
        self, routine: str, *args: Atom, types: Sequence[Type], name: str = "t"
    ) -> tuple[Var, ...]:
        results = tuple(Var(name, t) for t in types)
        self.append(Extern(results, routine, args, self.loc))
        return results

    # ---- memory --------------------------------------------------------------------------------

    def alloc(
        self, shape: Sequence[Atom], type: Type, zero: bool = True, name: str = "array"
    ) -> Var:
        result = Var(name, type)
        self.append(Alloc(result, tuple(shape), zero, self.loc))
        return result

    def load(self, array: Atom, index: Sequence[Atom], name: str = "t") -> Var:
        result = Var(name, array_of(array).element)
        self.append(Load(result, array, tuple(index), self.loc))
        return result

    def store(self, array: Atom, index: Sequence[Atom], value: Atom) -> None:
        self.append(Store(array, tuple(index), value, self.loc))

    def accumulate(self, array: Atom, index: Sequence[Atom], value: Atom) -> None:
        self.append(Accumulate(array, tuple(index), value, self.loc))

    def view(self, base: Atom, how: How, type: Type, name: str = "v") -> Var:
        result = Var(name, type)
        self.append(View(result, base, how, self.loc))
        return result

    def dim(self, array: Atom, axis: int, name: str = "n") -> Var:
        result = Var(name, I64)
        self.append(Dim(result, array, axis, self.loc))
        return result

    def gemm(self, out: Atom, a: Atom, b: Atom) -> None:
        self.append(Gemm(out, a, b, self.loc))

    def transposed(self, matrix: Atom, name: str = "v") -> Var:
        """The transpose of a matrix, as a view."""
        t = array_of(matrix)
        layout = {"C": "F", "F": "C"}.get(t.layout, "A")
        type = Array(t.element, t.ndim, layout)
        return self.view(matrix, Transpose(tuple(reversed(range(t.ndim)))), type, name)

    # ---- regions -------------------------------------------------------------------------------

    @contextmanager
    def for_(
        self,
        count: Atom,
        inits: Sequence[Atom] = (),
        index: str = "k",
        names: Sequence[str] | None = None,
        parallel: bool = False,
        slots: Atom | None = None,
    ) -> Iterator[Region]:
        names = names or [_name(a) for a in inits]
        params = tuple(Var(n, a.type) for n, a in zip(names, inits, strict=True))
        region = Region((Var(index, I64), *params))
        region.results = tuple(Var(p.name, p.type) for p in params)
        with self._inside() as stmts:
            yield region
        body = Block(region.params, tuple(stmts), tuple(region.yields))
        assert len(body.yields) == len(inits), "a For yields one value for each it carries"
        loop = For(region.results, count, tuple(inits), body, parallel, self.loc, slots)
        self.append(loop)

    @contextmanager
    def each(self, shape: Sequence[Atom], parallel: bool = False) -> Iterator[list[Atom]]:
        """Loops over all places of a shape, what is written inside is done for each.

        `parallel`: threads share the first axis.
        """
        with ExitStack() as stack:
            loops = [
                self.for_(n, index="ijkl"[i % 4], parallel=parallel and i == 0)
                for i, n in enumerate(shape)
            ]
            yield [stack.enter_context(loop).k for loop in loops]

    @contextmanager
    def while_(self, inits: Sequence[Atom], names: Sequence[str] | None = None) -> Iterator[Region]:
        """A do-while: set `yields` to (go, *carried). `params` are the carried values."""
        names = names or [_name(a) for a in inits]
        params = tuple(Var(n, a.type) for n, a in zip(names, inits, strict=True))
        region = Region(params, results=tuple(Var(p.name, p.type) for p in params))
        with self._inside() as stmts:
            yield region
        body = Block(params, tuple(stmts), tuple(region.yields))
        assert len(body.yields) == len(inits) + 1, "a While yields (go, *carried)"
        self.append(While(region.results, tuple(inits), body, self.loc))

    @contextmanager
    def arm(self) -> Iterator[Arm]:
        """Write an arm apart, to be handed to `if_` as `arm.block`."""
        region = Arm()
        with self._inside() as stmts:
            yield region
        region.block = Block((), tuple(stmts), tuple(region.yields))

    def if_(
        self, cond: Atom, then: Block, orelse: Block, names: Sequence[str] | None = None
    ) -> tuple[Var, ...]:
        """The results of an If over two finished arms (see `arm`)."""
        names = names or [_name(a) for a in then.yields]
        results = tuple(Var(n, a.type) for n, a in zip(names, then.yields, strict=True))
        self.append(If(results, cond, then, orelse, self.loc))
        return results

    @contextmanager
    def _inside(self) -> Iterator[list[Stmt]]:
        outer, self.stmts = self.stmts, []
        try:
            yield self.stmts
        finally:
            self.stmts = outer

    def inline(self, fn: Function, args: Sequence[Atom]) -> tuple[Atom, ...]:
        """Run a copy of `fn` on `args` at this point; its results."""
        block, _ = clone(fn.block, dict(zip(fn.params, args, strict=True)))
        self.stmts += block.stmts
        return block.yields

    # ---- effects -------------------------------------------------------------------------------

    def raise_if(self, cond: Atom, exception: type[BaseException], *args: Atom) -> None:
        if cond != Const(False, BOOL):
            self.append(Raise(cond, exception, args, self.loc))

    def print(self, *args: Atom) -> None:
        self.append(Print(args, self.loc))


def _name(a: Atom) -> str:
    return a.name if isinstance(a, Var | Global) else "t"


def full_slice() -> Slice:
    return Slice(None, None, None)


def without_tail(items: Sequence[Item]) -> Sequence[Item]:
    """An index without the whole axes at its end, which mean the same left out."""
    while len(items) > 1 and items[-1] == full_slice():
        items = items[:-1]
    return items


def fold(op: str, args: tuple[Atom, ...], type: Type) -> Atom | None:
    """The atom op(args) is known to be, or None. Folds exactly, but for the sign of a zero."""
    if not args:
        return None
    if op == "cast":
        return args[0] if args[0].type == type else _evaluate(op, args, type)
    a, *rest = args
    b = rest[0] if rest else None
    match op:
        case "add" if _is(a, 0):
            return b
        case "add" | "sub" if _is(b, 0):
            return a
        case "mul" | "gmul" if _is(a, 1):
            return b
        case "mul" | "div" if _is(b, 1):
            return a
        case "mul" if isinstance(type, Scalar) and type.is_int and (_is(a, 0) or _is(b, 0)):
            return zero_of(type)
        case "ipow" if _is(b, 1):
            return a
        case "ipow" if _is(b, 0):
            return const(1, type)
        case "eq" | "ne" if a == b and a.type in (I64, BOOL):
            return Const(op == "eq", BOOL)
        case "and" if _is(a, True) or _is(b, False):
            return b
        case "and" if _is(b, True) or _is(a, False):
            return a
        case "or" if _is(a, False) or _is(b, True):
            return b
        case "or" if _is(b, False) or _is(a, True):
            return a
        case "lane" if isinstance(a, Const) and not isinstance(a.value, str):
            return const(a.value, type)
        case "select" if isinstance(a, Const):
            return args[1] if a.value else args[2]
        case "select" if args[1] == args[2]:
            return args[1]
        case _:
            return _evaluate(op, args, type)


def _is(a: Atom | None, value: float | bool) -> bool:
    return isinstance(a, Const) and a.value == value and not isinstance(a.value, str)


def _evaluate(op: str, args: tuple[Atom, ...], type: Type) -> Const | None:
    """op of constants, where NumPy computes it without a complaint."""
    values = [
        a.type.numpy.type(a.value)
        for a in args
        if isinstance(a, Const) and isinstance(a.type, Scalar)
    ]
    if len(values) < len(args) or not isinstance(type, Scalar) or type.lanes:
        return None
    try:
        with np.errstate(all="raise"):
            return const(OPS[op].value(*values), type)
    except (ArithmeticError, ValueError, OverflowError):
        return None
