"""A kernel as functions for the CPU: what one thread does, from one barrier to the next.

    emulated(program) -> Program of (thread, launch, *shared, *arguments)

`thread` numbers the thread in its block, `launch` holds the numbers of `LAUNCH`, and every shared
array is an argument.  A barrier becomes a `yield` of its number: Numba compiles the function as a
generator, which is a thread that can be resumed.  Threads run one after the other and stop only
there, so that an atomic operation is a load and a store.

A kernel without barriers or shared arrays is a loop over `order`, which numbers the threads of the
whole grid: its program is of (order, launch, *arguments).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from numbaflux.backends.cpu import Module, Source
from numbaflux.backends.writer import Writer
from numbaflux.errors import InternalError
from numbaflux.ir.build import Builder, array_of, const, index, var_of, zero_of
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Extern,
    Function,
    Loc,
    Prim,
    Scalar,
    Shuffle,
    Stmt,
    Var,
)
from numbaflux.ir.ops import THREADS, VOTES
from numbaflux.ir.trees import Leaf, Program
from numbaflux.ir.walk import map_regions, substitute, walk

LAUNCH = tuple(
    f"{kind}_{axis}" for kind in ("block", "block_dim", "grid_dim") for axis in "xyz"
) + ("dynamic_bytes",)
WARP = 32


@dataclass(frozen=True, slots=True)
class Shared:
    """A shared array of a kernel, made anew for every block; `shape` is None if it is dynamic.

    `slots`: one element for every thread of the block.
    """

    dtype: str
    shape: tuple[int, ...] | None = None
    slots: bool = False


@dataclass(frozen=True, slots=True)
class Emulated:
    """A kernel for the CPU: its program, what it shares, and where its barriers are.

    `whole`: it runs all threads of the grid, not one.
    """

    program: Program
    shared: tuple[Shared, ...]
    barriers: tuple[Barrier, ...]  # by the number that is yielded, from 1
    whole: bool


def emulated(program: Program) -> Emulated:
    """The kernel as the program of one of its threads."""
    return _Emulation(program).run()


def write(name: str, made: Emulated) -> Source:
    """The module of an emulated kernel."""
    return _Generator(name, made).source()


class _Emulation:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.thread: Var = Var("thread", I64)
        self.launch, self.order = Var("launch", Array(I64, 1)), Var("order", Array(I64, 1))
        self.shared: dict[Var, Shared] = {}
        self.barriers: list[Barrier] = []
        self.numbers: dict[str, Atom] = {}

    def run(self) -> Emulated:
        fn = self.program.function
        b = Builder(fn.loc)
        for place, name in enumerate(LAUNCH):
            self.numbers[name] = b.load(self.launch, [index(place)], name)
        whole = not any(map(_meets_others, walk(fn.block)))
        if whole:
            with b.for_(b.dim(self.order, 0), index="at") as loop:
                self._take_from_order(b, loop.k)
                b.stmts += self._body(b, fn).stmts
        else:
            b.stmts += self._body(b, fn).stmts
        params = (self.order if whole else self.thread, self.launch, *self.shared)
        args = tuple((v.name, Leaf(v)) for v in params)
        function = replace(fn, block=b.block((*params, *fn.params)))
        made = replace(self.program, function=function, args=(*args, *self.program.args))
        return Emulated(made, tuple(self.shared.values()), tuple(self.barriers), whole)

    def _body(self, b: Builder, fn: Function) -> Block:
        self._number_all(b)
        indices = [s for s in walk(fn.block) if isinstance(s, Prim) and s.op in THREADS]
        env = {s.result: self.numbers[s.op] for s in indices}
        return self.block(substitute(fn.block, env))

    # ---- which thread --------------------------------------------------------------------------

    def _take_from_order(self, b: Builder, at: Atom) -> None:
        """Which thread comes next: its number in the grid is that of its block, then its own."""
        n = self.numbers
        threads = b.mul(n["block_dim_x"], b.mul(n["block_dim_y"], n["block_dim_z"]))
        number = b.load(self.order, [at], "number")
        block = b.prim("floordiv", number, threads, name="block")
        self.thread = var_of(b.sub(number, b.mul(block, threads), name="thread"))
        n["block_x"] = b.prim("mod", block, n["grid_dim_x"], name="block_x")
        rest = b.prim("floordiv", block, n["grid_dim_x"], name="rest")
        n["block_y"] = b.prim("mod", rest, n["grid_dim_y"], name="block_y")
        n["block_z"] = b.prim("floordiv", rest, n["grid_dim_y"], name="block_z")

    def _number_all(self, b: Builder) -> None:
        """The value of every number of a thread, computed from its own and the launch."""
        n = self.numbers
        n["thread_x"] = b.prim("mod", self.thread, n["block_dim_x"], name="thread_x")
        rest = b.prim("floordiv", self.thread, n["block_dim_x"], name="rest")
        n["thread_y"] = b.prim("mod", rest, n["block_dim_y"], name="thread_y")
        n["thread_z"] = b.prim("floordiv", rest, n["block_dim_y"], name="thread_z")
        n["warp_lane"] = b.prim("mod", self.thread, index(WARP), name="lane")
        for axis in "xyz":
            start = b.mul(n[f"block_{axis}"], n[f"block_dim_{axis}"])
            n[f"grid_{axis}"] = b.add(start, n[f"thread_{axis}"], name=f"grid_{axis}")
            size = b.mul(n[f"grid_dim_{axis}"], n[f"block_dim_{axis}"], name=f"grid_size_{axis}")
            n[f"grid_size_{axis}"] = size

    # ---- statements ----------------------------------------------------------------------------

    def block(self, block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            self.stmt(b, map_regions(stmt, self.block))
        return replace(block, stmts=tuple(b.stmts))

    def stmt(self, b: Builder, stmt: Stmt) -> None:
        match stmt:
            case Prim(op=op) if op in THREADS:
                pass
            case Alloc(result=r, space="shared", shape=shape):
                lengths = tuple(int(n.value) for n in shape)  # type: ignore[union-attr]
                self.shared[r] = Shared(_dtype(r), lengths)
            case Alloc(result=r, space="dynamic"):
                self.shared[r] = Shared(_dtype(r))
            case Alloc(result=r, space="local"):
                b.append(replace(stmt, space=""))
                if array_of(r).is_float:
                    _fill(b, r, float("nan"))
            case Accumulate(atomic=True):
                b.append(replace(stmt, atomic=False))
            case Atomic():
                _atomic(b, stmt)
            case Barrier():
                self.barrier(b, stmt.scope, stmt.loc)
            case Shuffle():
                self.shuffle(b, stmt)
            case Extern(routine=routine) if routine in VOTES:
                self.vote(b, stmt)
            case _:
                b.append(stmt)

    def barrier(self, b: Builder, scope: str, loc: Loc) -> None:
        b.append(Barrier(scope, loc))
        self.barriers.append(b.stmts[-1])  # type: ignore[arg-type]

    def slots(self, dtype: str) -> Var:
        """Memory of the block with a place for every thread."""
        made = Var("slots", Array(Scalar(dtype), 1))
        self.shared[made] = Shared(dtype, slots=True)
        return made

    def shuffle(self, b: Builder, stmt: Shuffle) -> None:
        """Show the value to the warp, wait for it, read the other's, wait until all have."""
        element = stmt.value.type
        assert isinstance(element, Scalar)
        slots, lane = self.slots(element.dtype), self.numbers["warp_lane"]
        b.store(slots, [self.thread], stmt.value)
        self.barrier(b, "warp", stmt.loc)
        match stmt.kind:
            case "down":
                source = b.add(lane, stmt.lane)
                source = b.select(b.prim("lt", source, index(WARP)), source, lane)
            case "up":
                source = b.sub(lane, stmt.lane)
                source = b.select(b.prim("ge", source, index(0)), source, lane)
            case "xor":
                source = b.prim("bitxor", lane, stmt.lane)
            case _:
                source = b.prim("mod", stmt.lane, index(WARP))
        place = b.add(b.sub(self.thread, lane), source)
        b.append(replace(_load(b, slots, place), result=stmt.result))
        self.barrier(b, "warp", stmt.loc)

    def vote(self, b: Builder, stmt: Extern) -> None:
        """Show 1 or 2 for no or yes, wait, count what the others show, wait, show nothing."""
        (p,), (result,) = stmt.args, stmt.results
        scope = "block" if stmt.routine.startswith("sync") else "warp"
        slots, lane = self.slots("int64"), self.numbers["warp_lane"]
        b.store(slots, [self.thread], b.select(p, index(2), index(1)))
        self.barrier(b, scope, stmt.loc)
        size = b.dim(slots, 0)
        first = index(0) if scope == "block" else b.sub(self.thread, lane)
        count = size if scope == "block" else b.prim("min", b.sub(size, first), index(WARP))
        with b.for_(count, [index(0)] * 3, "other", ["yes", "no", "bits"]) as loop:
            shown = b.load(slots, [b.add(first, loop.k)], "shown")
            yes, no, bits = loop.carried
            one = b.prim("cast", b.prim("eq", shown, index(2)), type=I64)
            zero = b.prim("cast", b.prim("eq", shown, index(1)), type=I64)
            bits = b.prim("bitor", bits, b.prim("lshift", one, loop.k))
            loop.yields = [b.add(yes, one), b.add(no, zero), bits]
        yes, no, bits = loop.results
        self.barrier(b, scope, stmt.loc)
        b.store(slots, [self.thread], index(0))
        self.barrier(b, scope, stmt.loc)
        found: Atom = {
            "sync_count": yes,
            "sync_and": b.prim("eq", no, index(0)),
            "warp_all": b.prim("eq", no, index(0)),
            "sync_or": b.prim("gt", yes, index(0)),
            "warp_any": b.prim("gt", yes, index(0)),
            "warp_ballot": bits,
        }[stmt.routine]
        b.append(Prim(result, "cast", (found,), stmt.loc))


def _meets_others(stmt: Stmt) -> bool:
    """Whether a statement is one for which the threads of a block have to run side by side."""
    match stmt:
        case Barrier() | Shuffle():
            return True
        case Alloc(space=space):
            return space in ("shared", "dynamic")
        case Extern(routine=routine):
            return routine in VOTES
        case _:
            return False


def _load(b: Builder, array: Atom, place: Atom):
    b.load(array, [place])
    return b.stmts.pop()


def _dtype(v: Var) -> str:
    element = array_of(v).element
    assert isinstance(element, Scalar)
    return element.dtype


def _fill(b: Builder, array: Var, value: float) -> None:
    """array[...] = value"""
    t = array_of(array)
    assert isinstance(t.element, Scalar)
    with b.each([b.dim(array, axis) for axis in range(t.ndim)]) as place:
        b.store(array, place, const(value, t.element))


def _atomic(b: Builder, stmt: Atomic) -> None:
    """before = array[index]; array[index] = what the operation makes of it."""
    before = stmt.result
    b.append(replace(_load(b, stmt.array, index(0)), result=before, index=stmt.index))
    x, *rest = stmt.args
    make: dict[str, Callable[[], Atom]] = {
        "add": lambda: b.add(before, x),
        "sub": lambda: b.sub(before, x),
        "max": lambda: b.prim("max", before, x),
        "min": lambda: b.prim("min", before, x),
        "and": lambda: b.prim("bitand", before, x),
        "or": lambda: b.prim("bitor", before, x),
        "xor": lambda: b.prim("bitxor", before, x),
        "exch": lambda: x,
        "cas": lambda: b.select(b.prim("eq", before, x), rest[0], before),
        "inc": lambda: b.select(
            b.prim("ge", before, x), zero_of(x.type), b.add(before, const(1, x.type))
        ),
        "dec": lambda: b.select(
            b.prim("or", b.prim("eq", before, zero_of(x.type)), b.prim("gt", before, x)),
            x,
            b.sub(before, const(1, x.type)),
        ),
    }
    b.store(stmt.array, stmt.index, make[stmt.op]())


# ---- writing -----------------------------------------------------------------------------------


class _ThreadWriter(Writer):
    """Writes a barrier as a yield of its number."""

    barriers: dict[Barrier, int]

    def threads(self, stmt: Stmt) -> None:
        if not isinstance(stmt, Barrier):
            raise InternalError(f"{type(stmt).__name__} is expanded before writing")
        self.line(f"yield {self.barriers[stmt]}")


class _Generator(Module):
    def __init__(self, name: str, made: Emulated) -> None:
        super().__init__(name, made.program, {})
        self.barriers = {stmt: n + 1 for n, stmt in enumerate(made.barriers)}

    def writer(self) -> Writer:
        made = _ThreadWriter(self.fn, self.names, self.given, self.exceptions)
        made.barriers = self.barriers
        return made
