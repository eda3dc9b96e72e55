"""An IR function's body as Python statements.

SSA is left by `coalesce.py`, expressions are written by `expressions.py`; here are the statements
and the copies that are left.  note [Copies]  Yields are assigned together: a copy waits until
nobody still reads what it overwrites, a ring of copies becomes `a, b = b, a`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import assert_never

from numbaflux.backends.coalesce import names_shared
from numbaflux.backends.expressions import CALL, COMPARISON, Expressions, dtype_name, width
from numbaflux.backends.growth import growth
from numbaflux.backends.inline import inlined, operands, use_counts
from numbaflux.backends.naming import Names
from numbaflux.errors import InternalError
from numbaflux.ir.build import array_of
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Call,
    Callee,
    Const,
    Custom,
    Dim,
    Extern,
    For,
    Function,
    Gemm,
    If,
    Load,
    Prim,
    Print,
    Raise,
    Scalar,
    Shuffle,
    Stmt,
    Store,
    Type,
    Var,
    View,
    While,
)
from numbaflux.ir.ops import OPS, ROUTINES

WIDTH = 100
INDENT = "    "
TOGETHER = 3  # so many copies in one statement are free: CPython swaps, no tuple is made
IN_PLACE = {"add": "+=", "sub": "-=", "mul": "*=", "div": "/="}
COMMUTATIVE = ("add", "mul")


class Writer:
    """Writes a function's body into `lines`, indented once.

    `given` are names chosen elsewhere: of arguments, of global arrays, of functions that are
    called; `exceptions` those of exceptions.  `frugal`: the call for what cannot be afforded.
    """

    written = Expressions
    frugal = ""

    def __init__(
        self,
        fn: Function,
        names: Names,
        given: Mapping[Atom | Callee, str],
        exceptions: Mapping[type, str],
    ) -> None:
        self.fresh, self.exceptions = names.fresh, exceptions
        self.inline = inlined(fn)
        self.counts = use_counts(fn.block)
        self.growth = growth(fn)
        self.names: dict[Atom | Callee, str] = dict(given)
        self._name(names_shared(fn, self.inline))
        self.lines: list[str] = []
        self.depth = 1
        self.expressions = self.written(self.names, self.inline, self._hoist, self._room)

    def _name(self, leaders: Mapping[Var, Var]) -> None:
        for v, leader in leaders.items():
            if leader not in self.names:
                self.names[leader] = self.fresh(leader.name)
            self.names[v] = self.names[leader]

    # ---- lines ---------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append(INDENT * self.depth + text)

    def _room(self) -> int:
        return WIDTH - len(INDENT) * self.depth

    def _hoist(self, wish: str, text: str) -> str:
        name = self.fresh(wish)
        self.line(f"{name} = {text}")
        return name

    @contextmanager
    def _inside(self) -> Iterator[list[str]]:
        """Write indented lines apart."""
        outer, self.lines = self.lines, []
        self.depth += 1
        try:
            yield self.lines
        finally:
            self.lines = outer
            self.depth -= 1

    def _put(self, form: str, args: Sequence[Atom], needs: Sequence[int] | None = None) -> None:
        self.line(self.expressions.fit(form, args, needs or [0] * len(args), taken=0))

    # ---- statements ----------------------------------------------------------------------------

    def block(self, block: Block, targets: Sequence[Var] = ()) -> None:
        """A block's statements; then its yields, the last ones, are assigned to `targets`."""
        for stmt in block.stmts:
            self._stmt(stmt)
            if isinstance(stmt, Raise) and stmt.cond == Const(True, stmt.cond.type):
                return
        self.copy(targets, block.yields[len(block.yields) - len(targets) :])

    def _stmt(self, stmt: Stmt) -> None:
        match stmt:
            case Prim(result) | Load(result) | View(result) | Dim(result):
                if result not in self.inline:
                    self._assign(self.names[result], stmt)
            case Extern(routine="afford", args=args):
                self._put("if {0} > runtime.limit():", args)
                self.line(f"{INDENT}return {self.frugal}")
            case Extern(results, routine, args):
                if len(results) == 1 and results[0] in self.inline:
                    return
                names = ", ".join(self.names[r] for r in results)
                form = ROUTINES[routine].form
                self._put(f"{names} = {form}" if names else form, args)
            case Call(results, callee, args):
                targets = ", ".join(self.names[r] for r in results)
                head = f"{targets} = " if results else ""
                self._put(f"{head}{self.names[callee]}({places(len(args))})", args)
            case Alloc(result):
                self.line(f"{self.names[result]} = {self._alloc(stmt)}")
            case Store() | Accumulate():
                self._store(stmt)
            case Gemm(out, a, b):
                module = "lanes" if width(out.type) else "runtime"
                self._put(f"{module}.gemm({{0}}, {{1}}, {{2}})", (out, a, b))
            case If():
                self._if(stmt)
            case For():
                self._for(stmt)
            case While():
                self._while(stmt)
            case Raise(cond, exception, args):
                self._raise(cond, exception, args)
            case Custom():
                raise InternalError("a call with a rule of the user's is expanded before writing")
            case Barrier() | Atomic() | Shuffle():
                self.threads(stmt)
            case Print(args):
                self._put(f"print({places(len(args))})", args)
            case _:
                assert_never(stmt)

    def threads(self, stmt: Stmt) -> None:
        """A statement that only kernels have: for the writers of kernels to say."""
        raise InternalError(f"{type(stmt).__name__} outside a kernel")

    def _assign(self, name: str, stmt: Stmt) -> None:
        """name = the statement's expression, or name += ... where that is the same."""
        if isinstance(stmt, Prim) and stmt.op in IN_PLACE and _wide(stmt.result.type):
            op, (x, y) = self.expressions.signed(stmt.op, stmt.args)
            if self._is(y, name) and not self._is(x, name) and op in COMMUTATIVE:
                x, y = y, x
            if self._is(x, name):
                self._put(f"{name} {IN_PLACE[op]} {{0}}", (y,))
                return
        self.line(f"{name} = {self.expressions.statement(stmt)[0]}")

    def _is(self, a: Atom, name: str) -> bool:
        return isinstance(a, Var) and a not in self.inline and self.names[a] == name

    def _alloc(self, stmt: Alloc) -> str:
        type, shape, zero = stmt.result.type, stmt.shape, stmt.zero
        assert isinstance(type, Array)
        if isinstance(type.element, Array):
            nothing = _empty_reference(type.element)
            return f"runtime.references({nothing}, {self.expressions.text(shape[0])})"
        borrowed = stmt.space == "workspace"
        function = "workspace.empty" if borrowed else "np.zeros" if zero else "np.empty"
        double = dtype_name(type.element) == "np.float64"
        dtype = "" if double else f", {'dtype=' * (not borrowed)}{dtype_name(type.element)}"
        lanes = width(type)
        if type.layout == "F" and type.ndim > 1 and not lanes:
            return f"{function}({self.expressions.shape(shape[::-1])}{dtype}).T"
        return f"{function}({self.expressions.shape(shape, lanes)}{dtype})"

    def _store(self, stmt: Store | Accumulate) -> None:
        array, index, value = stmt.array, stmt.index, stmt.value
        add, t = isinstance(stmt, Accumulate), array.type
        assert isinstance(t, Array)
        if t.grows and isinstance(t.element, Array):
            self._put("runtime.put({0}, {1}, {2})", (array, *index, value))
            return
        self._grow(stmt)
        places = ", ".join(f"{{{i + 1}}}" for i in range(len(index))) or "()"
        sign, value_place = "+=" if add else "=", f"{{{len(index) + 1}}}"
        if isinstance(t.element, Scalar) and t.element.lanes:
            function, place = "add" if add else "store", self.expressions.place(array, index)
            self._put(f"lanes.{function}({{0}}, {_escaped(place)})", (value,))
            return
        form = f"{{0}}[{places}] {sign} {value_place}"
        self._put(form, (array, *index, value), [CALL, *[0] * (len(index) + 1)])

    def _grow(self, stmt: Store | Accumulate | For) -> None:
        """The arrays that a store, or a loop of them, would find too short."""
        for each in self.growth.get(stmt, ()):
            names = [self.expressions.text(a) for a in each.arrays]
            args, last, least = (each.first,), "{0}", [COMPARISON + 1]
            if isinstance(each.count, Const):
                last, least = f"{{0}} + {int(each.count.value) - 1}", [OPS["add"].level]
            elif each.count is not None:
                args, last, least = (
                    (each.first, each.count),
                    "{0} + {1} - 1",
                    [OPS["add"].level] * 2,
                )
            self._put(f"if {last} >= {names[0]}.shape[0]:", args, least)
            for name, a in zip(names, each.arrays):
                module = "lanes" if width(array_of(a).element) else "runtime"
                self._put(f"{INDENT}{name} = {module}.grow({name}, {last})", args, least)

    def _raise(self, cond: Atom, exception: type, args: Sequence[Atom]) -> None:
        certain = isinstance(cond, Const) and bool(cond.value)
        if not certain:
            self._put("if {0}:", (cond,))
            self.depth += 1
        self._put(f"raise {self.exceptions[exception]}({places(len(args))})", args)
        self.depth -= not certain

    # ---- regions -------------------------------------------------------------------------------

    def _if(self, stmt: If) -> None:
        results = [r for r in stmt.results if self.counts[r]]
        keep = [i for i, r in enumerate(stmt.results) if self.counts[r]]
        arms = []
        for block in (stmt.then, stmt.orelse):
            with self._inside() as lines:
                self.block(Block((), block.stmts, tuple(block.yields[i] for i in keep)), results)
            arms.append(lines)
        then, orelse = arms
        if not then and not orelse:
            return
        turned = not then or (self._is_negation(stmt.cond) and bool(orelse))
        if turned:
            then, orelse = orelse, then
            self.line(f"if {self.expressions.negated(stmt.cond)}:")
        else:
            self._put("if {0}:", (stmt.cond,))
        self.lines += then
        self._else(orelse)

    def _is_negation(self, cond: Atom) -> bool:
        stmt = self.inline.get(cond) if isinstance(cond, Var) else None
        return isinstance(stmt, Prim) and stmt.op == "not"

    def _else(self, lines: list[str]) -> None:
        """An else arm, which is an elif if it is nothing but an if."""
        if not lines:
            return
        inner = INDENT * (self.depth + 1)
        heads = [text.removeprefix(inner) for text in lines if not text[len(inner)].isspace()]
        chained = heads[0].startswith("if ") and all(
            h.startswith("elif ") or h == "else:" for h in heads[1:]
        )
        if not chained:
            self.line("else:")
            self.lines += lines
            return
        self.line(f"el{heads[0]}")
        self.lines += [text.removeprefix(INDENT) for text in lines[1:]]

    def _for(self, stmt: For) -> None:
        k, *params = stmt.body.params
        self._grow(stmt)
        self.copy(params, stmt.inits)
        function = "numba.prange" if stmt.parallel else "range"
        self._put(f"for {self.names[k]} in {function}({{0}}):", (stmt.count,))
        self._body(stmt.body, params)

    def _while(self, stmt: While) -> None:
        self.copy(stmt.body.params, stmt.inits)
        self.line("while True:")
        self._body(stmt.body, stmt.body.params, stmt.body.yields[:1])

    def _body(self, block: Block, params: Sequence[Var], go: Sequence[Atom] = ()) -> None:
        with self._inside() as lines:
            self.block(block, params)
            for a in go:
                self._leave(a)
            if not lines:
                self.line("pass")
        self.lines += lines

    def _leave(self, go: Atom) -> None:
        """The end of a While's body."""
        if not isinstance(go, Const):
            self.line(f"if {self.expressions.negated(go)}:")
            self.line(f"{INDENT}break")
        elif not go.value:
            self.line("break")

    # ---- copies --------------------------------------------------------------------------------

    def copy(self, targets: Sequence[Var], sources: Sequence[Atom]) -> None:
        """targets = sources, all at once. note [Copies]"""
        pending = {
            self.names[t]: s
            for t, s in zip(targets, sources, strict=True)
            if not self._is(s, self.names[t])
        }
        waiting = list(pending)  # whose values have not been put aside
        while pending:
            free = [t for t in pending if not self._read_by_others(t, pending)]
            if free:
                self._copy_one(free[0], pending.pop(free[0]))
            elif not self._copy_ring(pending):
                name = next(t for t in waiting if t in pending)
                waiting.remove(name)
                later = Var(f"{name}_next", pending[name].type)
                self.names[later] = self._hoist(later.name, self.expressions.text(pending[name]))
                pending[name] = later

    def _read_by_others(self, target: str, pending: Mapping[str, Atom]) -> bool:
        return any(target in self._reads(s) for t, s in pending.items() if t != target)

    def _reads(self, a: Atom) -> set[str]:
        return {self.names[v] for v in operands(a, self.inline)}

    def _copy_one(self, target: str, source: Atom) -> None:
        stmt = self.inline.get(source) if isinstance(source, Var) else None
        if stmt is not None:
            self._assign(target, stmt)
        else:
            self.line(f"{target} = {self.expressions.text(source)}")

    def _copy_ring(self, pending: dict[str, Atom]) -> bool:
        """Write all that is pending as one statement, if it is short."""
        if len(pending) > TOGETHER or any(self._long(s) for s in pending.values()):
            return False
        values = ", ".join(self.expressions.text(s) for s in pending.values())
        self.line(f"{', '.join(pending)} = {values}")
        pending.clear()
        return True

    def _long(self, a: Atom) -> bool:
        return isinstance(a, Var) and a in self.inline and len(self._reads(a)) > TOGETHER


def _escaped(text: str) -> str:
    """A text as part of a form."""
    return text.replace("{", "{{").replace("}", "}}")


def places(count: int, first: int = 0) -> str:
    """So many places of a form: {0}, {1}."""
    return ", ".join(f"{{{i}}}" for i in range(first, first + count))


def _wide(type: Type) -> bool:
    """Whether arithmetic of a type is of that type in Numba."""
    return (
        isinstance(type, Scalar)
        and not type.lanes
        and (type.is_float or type.dtype in ("int64", "uint64"))
    )


def _empty_reference(element: Array) -> str:
    """An array of a type, to tell Numba what a list holds; a stride makes its layout A."""
    assert isinstance(element.element, Scalar)
    dtype, lanes = dtype_name(element.element), width(element)
    shape = ["0"] * element.ndim + [str(lanes)] * bool(lanes)
    array = f"np.empty(({', '.join(shape)}{',' * (len(shape) == 1)}), dtype={dtype})"
    layout = "A" if lanes and element.layout == "F" else element.layout
    if layout == "F" and element.ndim > 1:
        return f"{array}.T"
    return f"{array}[{', '.join(['::2'] * element.ndim)}]" if layout == "A" else array
