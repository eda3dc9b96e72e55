"""Atoms and inlined statements as expressions, with brackets only where Python needs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numbaflux.backends.inline import Inlined
from numbaflux.ir.build import without_tail
from numbaflux.ir.nodes import (
    Array,
    Atom,
    Const,
    Dim,
    Extern,
    Global,
    How,
    Index,
    Item,
    Load,
    Prim,
    Reshape,
    Scalar,
    Slice,
    Stmt,
    Transpose,
    Type,
    Var,
    View,
)
from numbaflux.ir.ops import OPS, ROUTINES

CALL, POWER, UNARY, COMPARISON, LOWEST = 100, 90, 80, 30, 5  # levels; see ops.py
REST = 20  # characters, about, that stand beside an expression on its line
WORTH_A_NAME = 12  # characters from which on a part of a long line is given a name

FLIPPED = {"eq": "ne", "ne": "eq"}
FLIPPED_INT = FLIPPED | {"lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}
EXACT = {"cast", "select", "stop_gradient"}  # printed forms that have the result's type already
DOUBLE = {"digamma", "polygamma"}  # printed forms that are float64 whatever they are given

Piece = tuple[str, int]  # a text and its level


class Expressions:
    """Writes expressions; `hoist(wish, text)` puts a part of a long one on a line before it."""

    def __init__(
        self,
        names: Mapping[Any, str],
        inline: Inlined,
        hoist: Callable[[str, str], str],
        room: Callable[[], int],
    ) -> None:
        self.names, self.inline, self.hoist, self.room = names, inline, hoist, room

    def text(self, a: Atom, level: int = 0) -> str:
        """An atom, in brackets if it binds less than `level`."""
        return _bracketed(self.piece(a), level)

    def piece(self, a: Atom) -> Piece:
        if isinstance(a, Const):
            return constant(a)
        if isinstance(a, Global) or a not in self.inline:
            return self.names[a], CALL
        return self.statement(self.inline[a])

    def statement(self, stmt: Stmt) -> Piece:
        """The right-hand side of a statement with one result that is an expression."""
        match stmt:
            case Prim():
                return self._prim(stmt)
            case Extern(routine=routine, args=args):
                form = ROUTINES[routine].form
                infix = not form.endswith(")")
                level = COMPARISON if infix else CALL
                return self.fit(form, args, [level + 1 if infix else 0] * len(args)), level
            case Load(Var(type=Scalar(lanes=lanes)), array, index) if lanes:
                return f"lanes.load({lanes}, {self.place(array, index)})", CALL
            case Load(array=array, index=index):
                places = ", ".join(f"{{{i + 1}}}" for i in range(len(index))) or "()"
                needs = [CALL, *[0] * len(index)]
                return self.fit(f"{{0}}[{places}]", (array, *index), needs), CALL
            case Dim(array=array, axis=axis):
                return self.dimension(array, axis), CALL
            case View(result, base, how):
                return self.view(base, how, result.type), CALL
            case _:
                raise AssertionError(f"{type(stmt).__name__} is no expression")

    def fit(self, form: str, args: Sequence[Atom], needs: Sequence[int], taken: int = REST) -> str:
        """The form filled in; parts of it get a name while it is longer than the room there is."""
        pieces = [self.piece(a) for a in args]
        while True:
            line = form.format(*(_bracketed(p, n) for p, n in zip(pieces, needs, strict=True)))
            large = [i for i, a in enumerate(args) if self._nameable(a, pieces[i])]
            if len(line) + taken <= self.room() or not large:
                return line
            i = max(large, key=lambda i: len(pieces[i][0]))
            pieces[i] = self.hoist(getattr(args[i], "name", "t"), pieces[i][0]), CALL

    def negated(self, a: Atom) -> str:
        """`not a`, without `not` where that is the same: of floats only == and != can be turned."""
        stmt = self.inline.get(a) if isinstance(a, Var) else None
        if isinstance(stmt, Prim):
            if stmt.op == "not":
                return self.text(stmt.args[0])
            kind = stmt.args[0].type
            flipped = FLIPPED_INT if isinstance(kind, Scalar) and kind.is_int else FLIPPED
            if stmt.op in flipped:
                return self._infix(flipped[stmt.op], stmt.args)
        return f"not {self.text(a, OPS['not'].level)}"

    def dimension(self, array: Atom, axis: int) -> str:
        assert isinstance(array.type, Array)
        if isinstance(array.type.element, Array):
            return f"len({self.text(array)})"
        return f"{self.text(array, CALL)}.shape[{axis}]"

    def place(self, array: Atom, index: Sequence[Atom]) -> str:
        """An array and an index of it, as arguments of a function."""
        places = ", ".join(self.text(i) for i in index)
        return f"{self.text(array)}, {f'({places})' if len(index) != 1 else places}"

    def view(self, base: Atom, how: How, type: Type) -> str:
        array, lanes = self.text(base, CALL), width(base.type)
        match how:
            case Transpose(axes) if lanes:
                return f"np.transpose({array}, {(*axes, len(axes))})"
            case Reshape(shape) if lanes:
                return f"{array}.reshape({self.shape(shape, lanes)})"
            case Index(items):
                if isinstance(type, Array) and type.layout == "C":
                    items = _contiguous(items)
                return f"{array}[{', '.join(self._item(i) for i in items)}]"
            case Transpose(axes) if axes == tuple(reversed(range(len(axes)))):
                return f"{array}.T"
            case Transpose(axes):
                return f"np.transpose({array}, {axes})"
            case Reshape(shape):
                return f"{array}.reshape({self.shape(shape)})"

    def shape(self, shape: Sequence[Atom], lanes: int = 0) -> str:
        """As an argument of np.zeros: `n`, `(n, m)`; lanes are the last axis."""
        lengths = [self.text(n) for n in shape] + [str(lanes)] * bool(lanes)
        return lengths[0] if len(lengths) == 1 else f"({', '.join(lengths)})"

    # ---- primitives ----------------------------------------------------------------------------

    def _prim(self, stmt: Prim) -> Piece:
        op, args, type = stmt.op, stmt.args, stmt.result.type
        if op == "stop_gradient":
            return self.piece(args[0])
        if width(type):
            return self._wide(stmt)
        if op == "cast":
            return self.fit(f"{caster(args[0].type, type)}({{0}})", args, [0]), CALL
        if op == "select":
            level = LOWEST + 1
            return self.fit("{1} if {0} else {2}", args, [level] * 3), LOWEST
        wrap = _wrapper(op, type)
        if wrap:
            return f"{wrap}({self._infix(*self.signed(op, args))})", CALL
        op, args = self.signed(op, args)
        return self._infix(op, args), OPS[op].level

    def _wide(self, stmt: Prim) -> Piece:
        """A primitive of lanes, where it is not written like one of numbers."""
        op, args, type = stmt.op, stmt.args, stmt.result.type
        match op:
            case "unit":
                return self.fit(f"lanes.unit({{0}}, {width(type)})", args, [0]), CALL
            case "cast":
                assert isinstance(type, Scalar)
                cast = "single" if type.dtype == "float32" else "double"
                return self.fit(f"lanes.{cast}({{0}})", args, [0]), CALL
            case "gmul":
                return self.fit("lanes.gmul({0}, {1})", args, [0, 0]), CALL
            case "select":
                return self.fit("{1} if {0} else {2}", args, [LOWEST + 1] * 3), LOWEST
            case _:
                op, args = self.signed(op, args)
                return self._infix(op, args), OPS[op].level

    def _infix(self, op: str, args: Sequence[Atom]) -> str:
        return self.fit(OPS[op].form, args, _needs(op, len(args)))

    def signed(self, op: str, args: Sequence[Atom]) -> tuple[str, Sequence[Atom]]:
        """x + -y as x - y, x - -y as x + y, -x + y as y - x: the same to the last bit."""
        if op not in ("add", "sub"):
            return op, args
        x, y = args
        opposite = "sub" if op == "add" else "add"
        if isinstance(y, Const) and not isinstance(y.value, str) and -(2**62) < y.value < 0:
            return opposite, (x, Const(-y.value, y.type))
        if (negated := self._negated(y)) is not None:
            return opposite, (x, negated)
        if op == "add" and (negated := self._negated(x)) is not None:
            return "sub", (y, negated)
        return op, args

    def _negated(self, a: Atom) -> Atom | None:
        stmt = self.inline.get(a) if isinstance(a, Var) else None
        return stmt.args[0] if isinstance(stmt, Prim) and stmt.op == "neg" else None

    def _nameable(self, a: Atom, piece: Piece) -> bool:
        """Whether a part is an expression, still without a name, and worth one."""
        return (
            isinstance(a, Var)
            and a in self.inline
            and len(piece[0]) > WORTH_A_NAME
            and not piece[0].isidentifier()
        )

    def _item(self, item: Item) -> str:
        if not isinstance(item, Slice):
            return "None" if item is None else self.text(item)
        start, stop, step = (
            "" if a is None else self.text(a) for a in (item.start, item.stop, item.step)
        )
        return f"{start}:{stop}" + (f":{step}" if step else "")


def _contiguous(items: Sequence[Item]) -> Sequence[Item]:
    """The index as Numba sees that its view is contiguous: `a[i]`, not `a[i, :, :]`."""
    several = sum(isinstance(i, Slice) for i in items) > 1
    return without_tail(items) if several else items


def width(type: Type) -> int:
    """How many lanes a value, or an element of an array, has; 0 for a plain one."""
    match type:
        case Array(element):
            return width(element)
        case Scalar():
            return type.lanes
        case _:
            return 0


def constant(a: Const) -> Piece:
    """A constant as Numba gives it its type: 0.5, 3, np.float32(0.5), -math.inf."""
    if not isinstance(a.type, Scalar):
        return repr(a.value), CALL
    dtype = a.type.dtype
    if a.type.lanes:
        zeros = f"lanes.zeros({a.type.lanes})"
        return (f"lanes.single({zeros})" if dtype == "float32" else zeros), CALL
    if dtype == "bool":
        return repr(bool(a.value)), CALL
    value = float(a.value) if a.type.is_float else int(a.value)
    text = repr(value) if math.isfinite(value) else f"math.{abs(value)}"
    if isinstance(value, int) and abs(value) >= 10**6:
        text = f"{value:_}"
    if dtype == "float32" and math.isfinite(value):
        text = str(np.float32(value))  # the shortest that is the same in float32
    if value == -math.inf:
        text = "-math.inf"
    if dtype not in ("float64", "int64"):
        return f"np.{dtype}({text})", CALL
    return text, UNARY if text.startswith("-") else CALL


def caster(source: Type, target: Type) -> str:
    """What to call to convert; Numba's float() and int() keep the width of their own kind."""
    assert isinstance(source, Scalar) and isinstance(target, Scalar)
    if target.dtype == "bool":
        return "bool"
    if target.dtype == "float64" and (source.is_int or source.dtype == "float64"):
        return "float"
    if target.dtype == "int64" and not source.is_int:
        return "int"
    return dtype_name(target)


def dtype_name(type: Type) -> str:
    assert isinstance(type, Scalar)
    return "np.bool_" if type.dtype == "bool" else f"np.{type.dtype}"


def _wrapper(op: str, type: Type) -> str:
    """The conversion needed where Numba's result type is wider than the IR's."""
    if not isinstance(type, Scalar) or op in EXACT:
        return ""
    narrow = type.is_int and type.dtype not in ("int64", "uint64")
    return dtype_name(type) if narrow or (op in DOUBLE and type.dtype == "float32") else ""


def _needs(op: str, count: int) -> list[int]:
    """The level each argument must have to go without brackets."""
    level = OPS[op].level
    if level == CALL:
        return [0] * count
    if level == POWER:
        return [POWER + 1, UNARY]
    if level == UNARY:
        return [UNARY + 1]
    if level == COMPARISON:
        return [COMPARISON + 1] * count
    if op in ("and", "or", "not"):
        return [level] * count
    return [level, level + 1]


def _bracketed(piece: Piece, level: int) -> str:
    text, own = piece
    return f"({text})" if own < level else text
