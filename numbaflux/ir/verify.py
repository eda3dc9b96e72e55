"""Whether an IR function is well formed: one line an invariant.

Run between passes in the tests; a failure is a defect of whoever made the function.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import assert_never

from numbaflux.errors import InternalError
from numbaflux.ir.nodes import (
    BOOL,
    I64,
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
from numbaflux.ir.ops import ATOMICS, OPS, ROUTINES, SHUFFLES, THREADS
from numbaflux.ir.printer import Printer
from numbaflux.ir.walk import callees, defs, uses

AROUND = 5  # lines of IR shown before and after the fault

COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
LOGIC = {"and", "or", "not"}
CLASSES = {"isnan", "isinf", "isfinite"}


def verify(fn: Function) -> None:
    """Raise InternalError, with the IR around it, at the first invariant that does not hold."""
    _Checker(fn).run()
    for callee in callees(fn):
        _Checker(callee.function).run()


Memory = Alloc | Load | Store | Accumulate | View | Dim | Gemm | Atomic


class _Checker:
    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.defined: set[Var] = set()
        self.visible: set[Var] = set()
        self.at: Stmt | Block = fn.block

    def run(self) -> None:
        self._block(self.fn.block)

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            raise InternalError(_report(self.fn, self.at, what))

    # ---- scope ---------------------------------------------------------------------------------

    def _block(self, block: Block) -> None:
        outer = set(self.visible)
        self._define(block.params)
        for stmt in block.stmts:
            self.at = stmt
            self._use(uses(stmt))
            self._stmt(stmt)
            self.at = stmt
            self._define(defs(stmt))
        self.at = block
        self._use(block.yields)
        for a in block.yields:
            self.check(not _grows(a), f"a growing array is never yielded: {a}")
        self.visible = outer

    def _define(self, variables: Sequence[Var]) -> None:
        for v in variables:
            self.check(v not in self.defined, f"a variable is assigned once: {v}")
            self.defined.add(v)
            self.visible.add(v)

    def _use(self, atoms: Sequence[Atom]) -> None:
        for a in atoms:
            if isinstance(a, Var):
                self.check(a in self.visible, f"a variable is used where it is visible: {a}")
            elif isinstance(a, Const) and isinstance(a.type, Scalar):
                self.check(_const_fits(a, a.type), f"a constant has its type: {a} of {a.type}")

    # ---- types ---------------------------------------------------------------------------------

    def _stmt(self, stmt: Stmt) -> None:
        match stmt:
            case Prim():
                self._prim(stmt)
            case Extern(routine=routine, args=args):
                self.check(routine in ROUTINES, f"a routine is in the table: {routine}")
                self.check(len(args) == _arity(ROUTINES[routine].form), "number of arguments")
            case Custom(results, rules, args):
                self._call(results, rules.primal, args)
            case Call(results, callee, args):
                self._call(results, callee.function, args)
                scalars = not any(isinstance(r.type, Array) for r in results)
                self.check(scalars, "the results of a function that is called are scalars")
            case If() | For() | While():
                self._regions(stmt)
            case Raise(cond, exception):
                self._equal(cond.type, BOOL, "a condition is a bool")
                self.check(issubclass(exception, BaseException), "what is raised is an exception")
            case Print() | Barrier():
                pass
            case Shuffle(result, kind, value, lane):
                self.check(kind in SHUFFLES, f"a kind of shuffle: {kind}")
                self._equal(result.type, value.type, "a shuffle keeps the type of the value")
                self._integers([lane])
            case _:
                self._memory(stmt)

    def _call(self, results: Sequence[Var], fn: Function, args: Sequence[Atom]) -> None:
        self._same(args, [p.type for p in fn.params], "a call's arguments and params")
        self._same(results, [r.type for r in fn.results], "a call's results")

    def _memory(self, stmt: Memory) -> None:
        match stmt:
            case Alloc(result, shape):
                t = self._array(result)
                self.check(t.layout in ("C", "F"), "a new array is C or F")
                self.check(not t.grows or t.ndim == 1, "a growing array has one dimension")
                self._index(shape, t)
            case Load(result, array, index):
                t = self._array(array)
                self._index(index, t)
                self._equal(result.type, t.element, "a load has the type of the elements")
            case Store(array, index, value) | Accumulate(array, index, value):
                t = self._array(array)
                self.check(not t.readonly, "a read-only array is not written")
                self._index(index, t)
                self.check(_storable(value.type, t.element), f"a {t} holds no {value.type}")
                self.check(not _grows(value), f"a growing array is never stored: {value}")
                if isinstance(stmt, Accumulate):
                    self.check(isinstance(t.element, Scalar), "only numbers are accumulated")
            case Atomic(result, op, array, index, args):
                t = self._array(array)
                self.check(op in ATOMICS, f"an atomic operation: {op}")
                self._index(index, t)
                self._all_equal([a.type for a in args], t.element, "operands of the elements' type")
                self._equal(result.type, t.element, "the old value has the type of the elements")
            case View(result, base, how):
                self._view(self._array(result), self._array(base), how)
            case Dim(result, array, axis):
                self.check(0 <= axis < self._array(array).ndim, "the axis exists")
                self._equal(result.type, I64, "a dimension is an int64")
            case Gemm(out, a, b):
                types = [self._array(m) for m in (out, a, b)]
                self.check(all(t.ndim == 2 and not t.grows for t in types), "gemm of matrices")
                elements = {_plain(t.element) for t in types}
                self.check(len(elements) == 1, "gemm of one element type")
                self.check(types[0].is_float, "gemm of floating point numbers")
            case _:
                assert_never(stmt)

    def _prim(self, stmt: Prim) -> None:
        op, result, types = stmt.op, stmt.result.type, [a.type for a in stmt.args]
        self.check(op in OPS, f"a primitive is in the table: {op}")
        self.check(len(types) == _arity(OPS[op].form), f"number of arguments of {op}")
        self.check(all(isinstance(t, Scalar) for t in (*types, result)), f"{op} is of scalars")
        if op in THREADS:
            self._equal(result, I64, "a thread's number is an int64")
            return
        if _lanes(result):
            self._wide(op, stmt.result.type, types)
            return
        first = types[0]
        if op in COMPARISONS:
            self._all_equal(types, first, f"operands of {op} are of one type")
            self._equal(result, BOOL, f"{op} is a bool")
        elif op in LOGIC:
            self._all_equal([*types, result], BOOL, f"{op} is of bools")
        elif op in CLASSES:
            self.check(first.is_float, f"{op} is of floating point numbers")
            self._equal(result, BOOL, f"{op} is a bool")
        elif op == "select":
            self._equal(first, BOOL, "a condition is a bool")
            self._all_equal(types[1:], result, "a select chooses between values of its type")
        elif op == "ipow":
            self._equal(first, result, "a power has the type of its base")
            self.check(_is_int(types[1]), "the exponent of ipow is an integer")
        elif op == "polygamma":
            self._equal(types[1], result, "polygamma has the type of its argument")
        elif op == "lane":
            self._equal(_plain(first), result, "a lane has the type of the lanes")
            self._integers(stmt.args[1:])
        elif op != "cast":
            self._all_equal(types, result, f"{op} has the type of its operands")

    def _wide(self, op: str, result: Type, types: list[Type]) -> None:
        """A primitive of lanes: what forward mode does to a tangent."""
        match op, types:
            case "unit", [t]:
                self.check(_is_int(t), "a lane is an integer")
            case "neg", [t]:
                self._equal(t, result, "neg has the type of its operand")
            case "add" | "sub", [*_]:
                self._all_equal(types, result, f"{op} has the type of its operands")
            case "mul" | "gmul", [d, factor]:
                self._equal(d, result, f"{op} has the type of its tangent")
                self._equal(factor, _plain(result), "a partial is a plain number")
            case "select", [cond, *chosen]:
                self._equal(cond, BOOL, "a condition is a bool")
                self._all_equal(chosen, result, "a select chooses between values of its type")
            case "cast", [t]:
                self.check(_lanes(t) == _lanes(result), "a cast keeps the lanes")
            case _:
                self.check(False, f"no arithmetic of lanes: {op}")

    def _view(self, result: Array, base: Array, how: How) -> None:
        self.check(not base.grows and not result.grows, "a growing array is never viewed")
        self.check(result.element == base.element, "a view has the elements of its base")
        match how:
            case Index(items):
                numbers = [i for i in items if i is not None and not isinstance(i, Slice)]
                slices = [i for i in items if isinstance(i, Slice)]
                self.check(len(numbers) + len(slices) <= base.ndim, "not more items than axes")
                ndim = base.ndim - len(numbers) + items.count(None)
                bounds = [b for s in slices for b in (s.start, s.stop, s.step) if b is not None]
                self._integers([*numbers, *bounds])
            case Transpose(axes):
                self.check(sorted(axes) == list(range(base.ndim)), "axes are permuted")
                ndim = base.ndim
            case Reshape(shape):
                self._integers(shape)
                ndim = len(shape)
            case _:
                assert_never(how)
        self.check(result.ndim == ndim, f"the view has {ndim} dimensions")

    # ---- regions -------------------------------------------------------------------------------

    def _regions(self, stmt: If | For | While) -> None:
        results = [r.type for r in stmt.results]
        match stmt:
            case If():
                self._equal(stmt.cond.type, BOOL, "a condition is a bool")
                self.check(not stmt.then.params and not stmt.orelse.params, "arms have no params")
                self._same(stmt.then.yields, results, "the then arm's yields and the results")
                self._same(stmt.orelse.yields, results, "the else arm's yields and the results")
                self._block(stmt.then)
                self._block(stmt.orelse)
            case For(body=body):
                self.check(_is_int(stmt.count.type), "a trip count is an integer")
                slots = stmt.slots is None or _is_int(stmt.slots.type)
                self.check(slots, "the number of slots is an integer")
                self.check(bool(body.params), "a For has a counter")
                self._equal(body.params[0].type, I64, "a counter is an int64")
                self._loop(stmt.inits, body.params[1:], body.yields, results)
                self._block(body)
            case While(body=body):
                self.check(bool(body.yields), "a While yields whether to go on")
                self._equal(body.yields[0].type, BOOL, "a condition is a bool")
                self._loop(stmt.inits, body.params, body.yields[1:], results)
                self._block(body)
            case _:
                assert_never(stmt)

    def _loop(
        self,
        inits: Sequence[Atom],
        params: Sequence[Atom],
        yields: Sequence[Atom],
        results: list[Type],
    ) -> None:
        self.check(not any(map(_grows, inits)), "a growing array is never carried")
        self._same(inits, results, "a loop's inits and results")
        self._same(params, results, "a loop's params and results")
        self._same(yields, results, "a loop's yields and results")

    # ---- small ones ----------------------------------------------------------------------------

    def _same(self, atoms: Sequence[Atom], types: list[Type], what: str) -> None:
        self.check(len(atoms) == len(types), f"{what} are as many")
        for a, t in zip(atoms, types):
            self._equal(a.type, t, f"{what} have the same types")

    def _equal(self, found: Type, wanted: Type, what: str) -> None:
        self.check(found == wanted, f"{what}: {found}, not {wanted}")

    def _all_equal(self, types: Sequence[Type], wanted: Type, what: str) -> None:
        for t in types:
            self._equal(t, wanted, what)

    def _array(self, a: Atom) -> Array:
        self.check(isinstance(a.type, Array), f"{a} is an array")
        assert isinstance(a.type, Array)
        return a.type

    def _index(self, index: Sequence[Atom], t: Array) -> None:
        self.check(len(index) == t.ndim, f"{t.ndim} indices")
        self._integers(index)

    def _integers(self, atoms: Sequence[Atom]) -> None:
        for a in atoms:
            self.check(_is_int(a.type), f"an index is an integer: {a} of {a.type}")


def _is_int(t: Type) -> bool:
    return isinstance(t, Scalar) and t.is_int


def _lanes(t: Type) -> int:
    return t.lanes if isinstance(t, Scalar) else 0


def _plain(t: Type) -> Type:
    return Scalar(t.dtype) if isinstance(t, Scalar) else t


def _grows(a: Atom) -> bool:
    return isinstance(a.type, Array) and a.type.grows


def _storable(value: Type, element: Type) -> bool:
    """Strictly equal, but that any strides fit into an array of references to any strides."""
    if isinstance(value, Array) and isinstance(element, Array) and element.layout == "A":
        return (value.element, value.ndim) == (element.element, element.ndim) and not value.grows
    return value == element


def _const_fits(a: Const, t: Scalar) -> bool:
    kinds = (bool,) if t.dtype == "bool" else (int,) if t.is_int else (float, int)
    return isinstance(a.value, kinds) and isinstance(a.value, bool) == (t.dtype == "bool")


def _arity(form: str) -> int:
    fields = {field for _, field, _, _ in string.Formatter().parse(form) if field}
    return len(fields - {"type", "lanes"})


def _report(fn: Function, at: Stmt | Block, what: str) -> str:
    printer = Printer(fn)
    here = printer.where.get(at, 0)
    first = max(0, here - AROUND)
    shown = printer.lines[first : here + AROUND + 1]
    marked = [("> " if first + i == here else "  ") + line for i, line in enumerate(shown)]
    return "\n".join([f"ill-formed IR in {fn.name}: {what}", *marked])
