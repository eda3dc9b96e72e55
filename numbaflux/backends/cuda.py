"""A kernel as a module for `cuda.jit`, of numba-cuda or of numba-cuda-mlir.

    launchable(program) -> the program that a launch runs: flat arguments, CUDA's primitives
    write(name, program, proven, compiler, options) -> its module

note [Flat]  A kernel takes the leaves of its arguments one after the other: the x and dx of
`Dup(x, dx)` are two.  If it has dynamic shared memory, the bytes of it come last.
note [Dynamic]  All dynamic shared arrays of a CUDA kernel begin at one address.  Here every one has
memory of its own: the launch asks for as many times the bytes as there are arrays, and each but
the first begins where the one before it ends, rounded up to 8 bytes.
note [Reshaped]  No array is reshaped: an element of one in another shape is an element of the array
itself.  `P.l1.W[i, j]` is `W[i * 16 + j]`, W being the part of the vector.
note [Narrow]  What one writes must not make float64 of float32: literals carry their type, and
only functions are called whose result has the width of their argument.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from numbaflux.backends.cpu import Module, Source
from numbaflux.backends.expressions import CALL, Expressions, Piece, dtype_name
from numbaflux.backends.writer import Writer, places
from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, array_of, const, index, without_tail, zero_of
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Alloc,
    Atom,
    Atomic,
    Barrier,
    Block,
    Call,
    Const,
    Extern,
    Gemm,
    Index,
    Item,
    Load,
    Prim,
    Reshape,
    Scalar,
    Shuffle,
    Slice,
    Stmt,
    Store,
    Var,
    View,
)
from numbaflux.ir.ops import OPS, PLAIN, VOTES
from numbaflux.ir.trees import Leaf, Program
from numbaflux.ir.walk import map_regions, substitute, uses, walk

Proven = Collection[tuple[Stmt, int]]  # subscripts, (statement, axis), that are not negative

FORMS = {
    "floor": "math.floor({0})",
    "ceil": "math.ceil({0})",
    "trunc": "math.trunc({0})",
    "cbrt": "cuda.cbrt({0})",
    "exp2": "math.exp2({0})",
    "fmod": "math.fmod({0}, {1})",
    "fmin": "min({0}, {1})",
    "fmax": "max({0}, {1})",
    "popc": "np.uint64(cuda.popc({0}))",
    "clz": "np.uint64(cuda.clz({0}))",
    "ffs": "np.uint64(cuda.ffs({0}))",
    "brev": "cuda.brev({0})",
}  # primitives that CUDA knows by another name
WIDER = ("floor", "ceil", "trunc")  # numba-cuda-mlir makes float64 of float32
BITS = {"float32": ("int32", "int_as_float"), "float64": ("int64", "longlong_as_double")}
FOREIGN = ("runtime.", "vecmath.", "lanes.", "np.")  # modules that are not there on a GPU
I32 = Scalar("int32")
WHOLE_WARP = "0xFFFFFFFF"
WORD = 8  # bytes to which the beginning of a dynamic array is rounded. note [Dynamic]


def launchable(program: Program) -> Program:
    """The kernel with flat arguments, in primitives that CUDA has.  note [Flat]

    Raises UnsupportedError for what has no form on a GPU.
    """
    return _Launchable(program).run()


def dynamic_arrays(program: Program) -> int:
    """How many times the bytes that a launch asks for it needs.  note [Dynamic]"""
    found = (s for s in walk(program.function.block) if isinstance(s, Alloc))
    return sum(s.space == "dynamic" for s in found)


def write(
    name: str, program: Program, proven: Proven, compiler: str, options: Mapping[str, object]
) -> Source:
    """The module of a launchable program, whose kernel is called `name`.

    `compiler` is the package whose `cuda` it imports; `options` are those of `cuda.jit`.
    """
    module = _KernelModule(name, program, options)
    module.compiler, module.proven = f"from {compiler} import cuda", proven
    return module.source()


# ---- in CUDA's primitives ----------------------------------------------------------------------


class _Launchable:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.bytes = Var("dynamic_bytes", I64)
        self.env: dict[Var, Atom] = {}
        self.dynamic = 0  # arrays so far
        self.flat: dict[Atom, Atom] = {}  # arrays that are another one in one dimension
        self.folded: dict[Atom, tuple[Atom, tuple[Atom, ...]]] = {}  # vectors under a shape
        self.shapes: dict[Atom, tuple[Atom, ...]] = {}  # of arrays made here

    def run(self) -> Program:
        fn = self.program.function
        block = substitute(self.block(fn.block), self.env)
        params = (*fn.params, *[self.bytes] * bool(self.dynamic))
        fn = replace(fn, block=replace(block, params=params))
        args = tuple((p.name, Leaf(p)) for p in params)
        return replace(self.program, function=fn, args=args, compiled=None)

    def block(self, block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            self.stmt(b, map_regions(stmt, self.block))
        return replace(block, stmts=tuple(b.stmts))

    def stmt(self, b: Builder, stmt: Stmt) -> None:
        match stmt:
            case Prim(result, "dynamic_bytes"):
                self.env[result] = self.bytes
            case Prim(result, op, args) if op in EXPANSIONS:
                self.env[result] = EXPANSIONS[op](b, *args)
            case Prim(op=op) if op in PLAIN:
                b.append(replace(stmt, op=PLAIN[op]))
            case Prim(op=op) if op not in FORMS and OPS[op].form.startswith(FOREIGN):
                _refuse(f"`{op}`", stmt)
            case Extern(routine=routine, args=args) if routine in VOTES:
                counted = routine.startswith("sync")  # CUDA asks for an integer there
                b.append(
                    replace(stmt, args=tuple(b.cast(a, I32) for a in args) if counted else args)
                )
            case Extern(routine=routine):
                _refuse(f"`{routine}`", stmt)
            case Call(callee=callee):
                _refuse(f"a call of `{callee.name}`, which calls itself,", stmt)
            case Gemm():
                _refuse("a matrix product", stmt)
            case Alloc(space="dynamic"):
                self.dynamic_array(b, stmt)
            case View(how=Reshape(shape)):
                self.reshaped(stmt, shape)
            case View(how=Index(items)) if stmt.base in self.folded:
                self.row(b, stmt, without_tail(items))
            case Load() | Store() | Accumulate() | Atomic() if stmt.array in self.flat:
                base = self.flat[stmt.array]
                place = self.unraveled(b, base, stmt.index[0])
                b.append(replace(stmt, array=base, index=place))
            case Load() | Store() | Accumulate() | Atomic() if stmt.array in self.folded:
                base, shape = self.folded[stmt.array]
                b.append(replace(stmt, array=base, index=(_raveled(b, shape, stmt.index),)))
            case _:
                if isinstance(stmt, Alloc):
                    self.shapes[stmt.result] = stmt.shape
                for a in uses(stmt):
                    if a in self.flat or a in self.folded:
                        _refuse("a view of a reshaped array", stmt)
                b.append(stmt)

    def reshaped(self, stmt: View, shape: tuple[Atom, ...]) -> None:
        """Elements of it become elements of the array itself. note [Reshaped]"""
        base = self.env.get(stmt.base, stmt.base) if isinstance(stmt.base, Var) else stmt.base
        array, _ = self.folded.get(base, (base, ()))
        if base in self.flat or array_of(array).ndim > 1:
            if len(shape) > 1:
                _refuse("a reshaped array of several dimensions", stmt)
            self.flat[stmt.result] = self.flat.get(base, base)
        elif len(shape) == 1:
            self.env[stmt.result] = array
        else:
            self.folded[stmt.result] = array, shape

    def row(self, b: Builder, stmt: View, items: Sequence[Item]) -> None:
        """rows[i], where `rows` is a vector under a shape, is a part of the vector."""
        vector, shape = self.folded[stmt.base]
        place = [i for i in items if i is not None and not isinstance(i, Slice)]
        if len(place) < len(items):
            _refuse("columns of a reshaped array", stmt)
        rest = shape[len(items) :]
        size = reduce(b.mul, rest)
        start = b.mul(_raveled(b, shape, place), size)
        how = Index((Slice(start, b.add(start, size)),))
        if len(rest) == 1:
            b.append(replace(stmt, base=vector, how=how))
        else:
            part = b.view(vector, how, array_of(vector), stmt.result.name)
            self.folded[stmt.result] = part, rest

    def unraveled(self, b: Builder, array: Atom, place: Atom) -> tuple[Atom, ...]:
        """The index of a place that is counted from the first element on."""
        found: list[Atom] = []
        for axis in reversed(range(1, array_of(array).ndim)):
            size = self.shapes[array][axis] if array in self.shapes else b.dim(array, axis)
            found.append(b.prim("mod", place, size))
            place = b.prim("floordiv", place, size)
        return (place, *reversed(found))

    def dynamic_array(self, b: Builder, stmt: Alloc) -> None:
        """note [Dynamic]"""
        self.dynamic += 1
        before = self.dynamic - 1
        if not before:
            b.append(stmt)
            return
        element = array_of(stmt.result).element
        assert isinstance(element, Scalar)
        words = b.prim("floordiv", b.add(self.bytes, index(WORD - 1)), index(WORD))
        start = b.mul(words, index(before * WORD // element.numpy.itemsize), name="start")
        stop = b.add(start, stmt.shape[0], name="stop")
        whole = Var("dynamic", stmt.result.type)
        b.append(replace(stmt, result=whole, shape=(stop,)))
        made = b.view(whole, Index((Slice(start, stop),)), whole.type, stmt.result.name)
        self.env[stmt.result] = made


def _raveled(b: Builder, shape: tuple[Atom, ...], place: Sequence[Atom]) -> Atom:
    """Where in C order a place is; a negative index counts from the end."""
    found: Atom = index(0)
    for size, i in zip(shape, place):
        inside = b.select(b.prim("lt", i, index(0)), b.add(i, size), i)
        found = b.add(b.mul(found, size), inside)
    return found


def _refuse(what: str, stmt: Stmt) -> None:
    raise UnsupportedError(
        f"{what} in a kernel", stmt.loc,
        "it has no form on a GPU", "write it with arithmetic and functions of `math`",
    )  # fmt: skip


def _gmul(b: Builder, x: Atom, y: Atom) -> Atom:
    zero = b.prim("eq", x, zero_of(x.type))
    return b.select(zero, x, b.mul(x, y))


def _or_nan(op: str) -> Callable[[Builder, Atom, Atom], Atom]:
    """The smaller or larger of two, nan if either is."""

    def expand(b: Builder, x: Atom, y: Atom) -> Atom:
        first = b.prim("or", b.prim(op, x, y), b.prim("isnan", x))
        return b.select(first, x, y)

    return expand


def _sign(b: Builder, x: Atom) -> Atom:
    zero = zero_of(x.type)
    below = b.select(b.prim("lt", x, zero), const(-1, x.type), x)
    return b.select(b.prim("gt", x, zero), const(1, x.type), below)


def _rint(b: Builder, x: Atom) -> Atom:
    """The nearest whole number, of two the even one."""
    one, half = const(1, x.type), const(0.5, x.type)
    down = b.prim("floor", x)
    rest = b.sub(x, down)
    halved = b.mul(down, half)
    odd = b.prim("ne", b.prim("floor", halved), halved)
    up = b.prim("or", b.prim("gt", rest, half), b.prim("and", b.prim("eq", rest, half), odd))
    return b.select(up, b.add(down, one), down)


def _sigmoid(b: Builder, x: Atom) -> Atom:
    one = const(1, x.type)
    return b.prim("div", one, b.add(one, b.prim("exp", b.neg(x))))


def _softplus(b: Builder, x: Atom) -> Atom:
    small = b.prim("log1p", b.prim("exp", b.neg(b.prim("abs", x))))
    return b.add(b.prim("max", x, zero_of(x.type)), small)


EXPANSIONS: dict[str, Callable[..., Atom]] = {
    "gmul": _gmul,
    "minimum": _or_nan("lt"),
    "maximum": _or_nan("gt"),
    "sign": _sign,
    "rint": _rint,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
}


# ---- writing -----------------------------------------------------------------------------------


class _KernelExpressions(Expressions):
    proven: Proven = ()

    def statement(self, stmt: Stmt) -> Piece:
        if isinstance(stmt, Load):
            form = f"{{0}}[{self.subscripts(stmt)}]"
            return self.fit(form, (stmt.array, *stmt.index), [CALL] + [0] * len(stmt.index)), CALL
        return super().statement(stmt)

    def subscripts(self, stmt: Load | Store | Accumulate) -> str:
        """A form for the subscripts: as unsigned numbers Numba does not ask for their sign."""
        known = [(stmt, axis) in self.proven for axis in range(len(stmt.index))]
        return ", ".join(
            f"np.uint64({{{i + 1}}})" if k and not isinstance(a, Const) else f"{{{i + 1}}}"
            for i, (a, k) in enumerate(zip(stmt.index, known))
        ) or "()"  # fmt: skip

    def _infix(self, op: str, args: Sequence[Atom]) -> str:
        if op == "ipow" and not isinstance(args[1], Const):  # float32 ** int64 is float64
            return self.fit("math.pow({0}, np.int32({1}))", args, [0, 0])
        if op in FORMS:
            narrow = op in WIDER and args[0].type == Scalar("float32")
            form = f"np.float32({FORMS[op]})" if narrow else FORMS[op]
            return self.fit(form, args, [0] * len(args))
        return super()._infix(op, args)


class _KernelWriter(Writer):
    written = _KernelExpressions
    expressions: _KernelExpressions

    def threads(self, stmt: Stmt) -> None:
        match stmt:
            case Barrier(scope):
                self.line("cuda.syncthreads()" if scope == "block" else "cuda.syncwarp()")
            case Atomic():
                word = f"{stmt.op}_" if stmt.op in ("and", "or") else stmt.op
                self.atomic(word, stmt.array, stmt.index, stmt.args, stmt.result)
            case Shuffle():
                self.shuffle(stmt)
            case _:
                super().threads(stmt)

    def atomic(
        self,
        op: str,
        array: Atom,
        index: Sequence[Atom],
        args: Sequence[Atom],
        result: Var | None = None,
    ) -> None:
        n = len(index)
        where = places(n, 1)
        where = where if n == 1 else f"({where})"
        call = f"cuda.atomic.{op}({{0}}, {where}, {places(len(args), n + 1)})"
        if op == "exch" and array_of(array).is_float:  # of integers alone: the bits of 0.0 are 0
            integer, as_float = BITS[str(array_of(array).element)]
            bits = f"cuda.atomic.exch({{0}}.view(np.{integer}), {where}, np.{integer}(0))"
            call, args = f"cuda.libdevice.{as_float}({bits})", ()
        if result is not None and self.counts[result]:
            call = f"{self.names[result]} = {call}"
        self._put(call, (array, *index, *args))

    def shuffle(self, stmt: Shuffle) -> None:
        kind = "" if stmt.kind == "idx" else f"{stmt.kind}_"
        call = f"cuda.shfl_{kind}sync({WHOLE_WARP}, {{0}}, {{1}})"
        self._put(f"{self.names[stmt.result]} = {call}", (stmt.value, stmt.lane))

    def _store(self, stmt: Store | Accumulate) -> None:
        if isinstance(stmt, Accumulate) and stmt.atomic:
            self.atomic("add", stmt.array, stmt.index, (stmt.value,))
            return
        sign, n = "+=" if isinstance(stmt, Accumulate) else "=", len(stmt.index)
        form = f"{{0}}[{self.expressions.subscripts(stmt)}] {sign} {{{n + 1}}}"
        self._put(form, (stmt.array, *stmt.index, stmt.value), [CALL, *[0] * (n + 1)])

    def _alloc(self, stmt: Alloc) -> str:
        """note [Dynamic]"""
        t = array_of(stmt.result)
        shape = "0" if stmt.space == "dynamic" else self.expressions.shape(stmt.shape)
        space = "shared" if stmt.space == "dynamic" else stmt.space
        return f"cuda.{space}.array({shape}, {dtype_name(t.element)})"

    def _raise(self, cond: Atom, exception: type, args: Sequence[Atom]) -> None:
        """A GPU tells nobody the values of an exception."""
        super()._raise(cond, exception, [a for a in args if isinstance(a, Const)])


class _KernelModule(Module):
    proven: Proven = ()

    def writer(self) -> Writer:
        made = _KernelWriter(self.fn, self.names, self.given, self.exceptions)
        made.expressions.proven = self.proven
        return made

    def _decorator(self, fn: object, signature: str = "") -> list[str]:
        options = ", ".join(f"{key}={value!r}" for key, value in sorted(self.options.items()))
        return [f"@cuda.jit({options})" if options else "@cuda.jit"]
