"""Any IR as Python-like text, for people: every variable under a name of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from numbaflux.ir.nodes import (
    BOOL,
    Accumulate,
    Alloc,
    Atom,
    Atomic,
    Barrier,
    Block,
    Call,
    Custom,
    Dim,
    Extern,
    For,
    Function,
    Gemm,
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
from numbaflux.ir.ops import OPS, ROUTINES, Op
from numbaflux.ir.walk import callees


def show(fn: Function) -> str:
    """The function as text, below the functions that it calls."""
    functions = [*(callee.function for callee in callees(fn)), fn]
    return "\n\n".join("\n".join(Printer(f).lines) for f in functions)


class Printer:
    """The text of a function as `lines`, and in `where` the line each statement begins on."""

    def __init__(self, fn: Function) -> None:
        self.lines: list[str] = []
        self.where: dict[Stmt | Block, int] = {}
        self._names: dict[Var, str] = {}
        self._taken: dict[str, int] = {}
        params = ", ".join(self._typed(p) for p in fn.params)
        results = ", ".join(str(a.type) for a in fn.results)
        self._line(0, f"def {fn.name}({params}) -> ({results}):")
        self._body(1, fn.block, "return")

    def name(self, a: Atom) -> str:
        if not isinstance(a, Var):
            return repr(a)
        if a not in self._names:
            count = self._taken.get(a.name, 0)
            self._taken[a.name] = count + 1
            self._names[a] = f"{a.name}_{count}" if count else a.name
        return self._names[a]

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def _typed(self, v: Var) -> str:
        return f"{self.name(v)}: {v.type}"

    def _list(self, atoms: Sequence[Atom]) -> str:
        return ", ".join(self.name(a) for a in atoms)

    def _call(self, table: Mapping[str, Op], op: str, args: Sequence[Atom], type: Type) -> str:
        form = table[op].form if op in table else ""
        if form.count("{") - form.count("{type}") - form.count("{lanes}") != len(args):
            return f"{op}({self._list(args)})"  # ill-formed, but it must be shown
        lanes = type.lanes if isinstance(type, Scalar) else 0
        return form.format(*(self.name(a) for a in args), type=type, lanes=lanes)

    def _item(self, array: Atom, index: Sequence[Atom]) -> str:
        return f"{self.name(array)}[{self._list(index) or '()'}]"

    def _body(self, depth: int, block: Block, end: str) -> None:
        for stmt in block.stmts:
            self.where[stmt] = len(self.lines)
            self._stmt(depth, stmt)
        self.where[block] = len(self.lines)
        self._line(depth, f"{end} {self._list(block.yields)}".rstrip())

    def _stmt(self, depth: int, stmt: Stmt) -> None:
        match stmt:
            case If(results, cond, then, orelse):
                self._line(depth, f"{self._results(results)}if {self.name(cond)}:")
                self._body(depth + 1, then, "yield")
                self._line(depth, "else:")
                self._body(depth + 1, orelse, "yield")
            case For(results, count, inits, body, parallel, _, slots):
                k, carried = self._list(body.params[:1]), self._carried(body.params[1:], inits)
                range_ = "prange" if parallel else "range"
                mark = "" if slots is None else f" slots={self.name(slots)}"
                text = f"for {k} in {range_}({self.name(count)}){mark}{carried}:"
                self._line(depth, self._results(results) + text)
                self._body(depth + 1, body, "yield")
            case While(results, inits, body):
                carried = self._carried(body.params, inits)
                self._line(depth, f"{self._results(results)}do{carried}:")
                self._body(depth + 1, body, "yield while")
            case _:
                self._line(depth, self._simple(stmt))

    def _results(self, results: Sequence[Var]) -> str:
        return f"{', '.join(self._typed(r) for r in results)} = " if results else ""

    def _carried(self, params: Sequence[Var], inits: Sequence[Atom]) -> str:
        if not params:
            return ""
        pairs = (f"{self.name(p)} = {self.name(i)}" for p, i in zip(params, inits))
        return " with " + ", ".join(pairs)

    def _simple(self, stmt: Stmt) -> str:
        match stmt:
            case Prim(result, op, args):
                return f"{self.name(result)} = {self._call(OPS, op, args, result.type)}"
            case Extern(results, routine, args):
                kind = results[0].type if results else BOOL
                call = self._call(ROUTINES, routine, args, kind)
                return f"{self._list(results)} = {call}" if results else call
            case Custom(results, rules, args):
                return f"{self._list(results)} = {rules.name}({self._list(args)})"
            case Call(results, callee, args):
                return f"{self._results(results)}{callee.name}({self._list(args)})"
            case Alloc(result, shape, zero, _, space):
                kind = f"{space} {'zeros' if zero else 'empty'}".strip()
                return f"{self._typed(result)} = {kind}({self._list(shape)})"
            case Load(result, array, index):
                return f"{self.name(result)} = {self._item(array, index)}"
            case Store(array, index, value, _, again):
                mark = "again " if again else ""
                return f"{mark}{self._item(array, index)} = {self.name(value)}"
            case Accumulate(array, index, value, _, atomic):
                mark = "atomic " if atomic else ""
                return f"{mark}{self._item(array, index)} += {self.name(value)}"
            case Atomic(result, op, array, index, args, _, settled):
                target, mark = self._item(array, index), "settled " if settled else ""
                return f"{self.name(result)} = {mark}atomic {op}({target}, {self._list(args)})"
            case Shuffle(result, kind, value, lane):
                source = f"{self.name(value)}, {self.name(lane)}"
                return f"{self.name(result)} = shuffle {kind}({source})"
            case Barrier(scope):
                return f"barrier {scope}"
            case View(result, base, how):
                return f"{self._typed(result)} = {self.name(base)}{self._how(how)}"
            case Dim(result, array, axis):
                return f"{self.name(result)} = {self.name(array)}.shape[{axis}]"
            case Gemm(out, a, b):
                return f"{self.name(out)} += {self.name(a)} @ {self.name(b)}"
            case Raise(cond, exception, args):
                return f"raise {exception.__name__}({self._list(args)}) if {self.name(cond)}"
            case Print(args):
                return f"print({self._list(args)})"
            case If() | For() | While():
                raise AssertionError("a statement with regions")
            case _:
                assert_never(stmt)

    def _how(self, how: How) -> str:
        match how:
            case Index(items):
                return f"[{', '.join(self._index(i) for i in items)}]"
            case Transpose(axes):
                return f".transpose{axes}"
            case Reshape(shape):
                return f".reshape({self._list(shape)})"
            case _:
                assert_never(how)

    def _index(self, item: Atom | Slice | None) -> str:
        if not isinstance(item, Slice):
            return "None" if item is None else self.name(item)
        start, stop, step = (
            "" if a is None else self.name(a) for a in (item.start, item.stop, item.step)
        )
        return f"{start}:{stop}" + (f":{step}" if step else "")
