"""A kernel as functions for the CPU: what one thread does, from one barrier to the next.

    emulated(program) -> Program of (thread, launch, memory, *shared, *arguments)

`thread` numbers the thread in its block, `launch` holds the numbers of `LAUNCH`, and every shared
array is an argument.  A barrier becomes a `yield` of its number: Numba compiles the function as a
generator, which is a thread that can be resumed.  Threads run one after the other and stop only
there, so that an atomic operation is a load and a store.  A thread that ends yields 0; resumed
then, it is the thread of that number in the next block.

A kernel without barriers or shared arrays is a loop over `order`, which numbers the threads of the
whole grid: its program is of (order, launch, memory, *arguments).

`memory` is there if the kernel's accesses are watched (passes/kernels/watched.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeGuard

from numbaflux.backends.cpu import Module, Source
from numbaflux.backends.writer import Writer
from numbaflux.errors import InternalError
from numbaflux.ir.build import Builder, array_of, const, index, var_of, zero_of
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
    Const,
    Extern,
    For,
    Loc,
    Opaque,
    Prim,
    Scalar,
    Shuffle,
    Stmt,
    Type,
    Var,
    While,
)
from numbaflux.ir.ops import THREADS, VOTES, WARP, WATCHES
from numbaflux.ir.trees import Leaf, Program
from numbaflux.ir.walk import map_regions, regions, substitute, walk

LAUNCH = (
    *(f"{kind}_{axis}" for kind in ("block", "block_dim", "grid_dim") for axis in "xyz"),
    "dynamic_bytes",
    "first",  # the number in the grid of the first thread of the block
)
ENDED = 0  # what a thread yields at its end


@dataclass(frozen=True, slots=True)
class Shared:
    """A shared array of a kernel; `shape` is None if it lies in the block's dynamic memory.

    `slots`: one element for every thread of the block.  `array`: what it is in the kernel.
    """

    array: Var
    dtype: str
    shape: tuple[int, ...] | None = None
    slots: bool = False


@dataclass(frozen=True, slots=True)
class Emulated:
    """A kernel for the CPU: its program, what it shares, and where its barriers are.

    `whole`: it runs all threads of the grid, not one.  `watched`: it is passed `memory`.
    """

    program: Program
    shared: tuple[Shared, ...]
    waits: tuple[Wait, ...]  # by the number that is yielded, from 1
    whole: bool
    watched: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Where threads wait: a barrier of the kernel's, or (not `orders`) of a warp operation."""

    barrier: Barrier
    orders: bool


def emulated(program: Program) -> Emulated:
    """The kernel as the program of one of its threads."""
    return _Emulation(program).run()


def write(name: str, made: Emulated) -> Source:
    """The module of an emulated kernel."""
    return _Generator(name, made).source()


class _Numbers:
    """The numbers of a thread, each computed where it is first known if it is asked for at all."""

    def __init__(self, whole: bool, launch: Var, order: Var) -> None:
        self.launch, self.order = launch, order
        self.of_launch, self.of_block = Builder(), Builder()
        self.of_thread = self.of_block if whole else Builder()
        self.whole = whole
        self.at = Var("at", I64)
        self.found: dict[str, Atom] = {} if whole else {"thread": Var("thread", I64)}

    def __getitem__(self, name: str) -> Atom:
        if name not in self.found:
            self.found[name] = self._make(name)
        return self.found[name]

    def _make(self, name: str) -> Atom:
        kind, axis = name[:-2], name[-1]
        match kind:
            case "grid":
                start = self.of_block.mul(self[f"block_{axis}"], self[f"block_dim_{axis}"])
                return self.of_block.add(start, self[f"thread_{axis}"], name)
            case "grid_size":
                blocks, threads = self[f"grid_dim_{axis}"], self[f"block_dim_{axis}"]
                return self.of_launch.mul(blocks, threads, name)
            case "thread":
                return self._part(self.of_thread, axis, "thread", "block_dim", name)
            case "block" if self.whole:
                return self._part(self.of_block, axis, "block", "grid_dim", name)
            case _:
                return self._single(name)

    def _part(self, b: Builder, axis: str, number: str, sizes: str, name: str) -> Atom:
        """A coordinate of what has this number in an array of these sizes."""
        columns = self[f"{sizes}_x"]
        if axis == "x":
            return b.prim("mod", self[number], columns, name=name)
        row = b.prim("floordiv", self[number], columns, name="row")
        return b.prim("mod" if axis == "y" else "floordiv", row, self[f"{sizes}_y"], name=name)

    def _single(self, name: str) -> Atom:
        match name:
            case "warp_lane":
                return self.of_thread.prim("mod", self["thread"], index(WARP), name="lane")
            case "threads":
                x, y, z = (self[f"block_dim_{axis}"] for axis in "xyz")
                return self.of_launch.mul(self.of_launch.mul(x, y), z, name)
            case "number":
                return self.of_block.load(self.order, [self.at], name)
            case "block":
                return self.of_block.prim("floordiv", self["number"], self["threads"], name=name)
            case "first" if self.whole:
                return self.of_block.mul(self["block"], self["threads"], name)
            case "thread":
                return self.of_block.sub(self["number"], self["first"], name)
            case _:
                changes = name in (*LAUNCH[:3], "first")
                b = self.of_block if changes else self.of_launch
                return b.load(self.launch, [index(LAUNCH.index(name))], name)


class _Emulation:
    def __init__(self, program: Program) -> None:
        self.program = program
        fn = program.function
        self.whole = not any(map(_meets_others, walk(fn.block)))
        self.launch, self.order = Var("launch", Array(I64, 1)), Var("order", Array(I64, 1))
        self.memory = Var("memory", Opaque("watch"))
        self.shared: dict[Var, Shared] = {}
        self.waits: list[Wait] = []
        self.shown: list[tuple[Var, Loc]] = []  # slots that are poisoned after the next wait
        self.free: list[Var] = []  # slots that show nothing
        self.numbers = _Numbers(self.whole, self.launch, self.order)

    def run(self) -> Emulated:
        fn, n = self.program.function, self.numbers
        indices = [s for s in walk(fn.block) if isinstance(s, Prim) and s.op in THREADS]
        body = self.block(substitute(fn.block, {s.result: n[s.op] for s in indices}))
        stmts = (*n.of_block.stmts, *body.stmts)
        b = n.of_launch
        if self.whole:
            count = b.dim(self.order, 0)
            b.append(For((), count, (), Block((n.at,), stmts), loc=fn.loc))
        else:
            b.stmts += n.of_thread.stmts
            again = Block((), (*stmts, Barrier("end", fn.loc)), (const(True, BOOL),))
            b.append(While((), (), again, fn.loc))
        watches = any(_is_watch(s) for s in walk(fn.block))
        who = self.order if self.whole else var_of(n["thread"])
        params = (who, self.launch, *[self.memory] * watches, *self.shared)
        args = tuple((v.name, Leaf(v)) for v in params)
        function = replace(fn, block=b.block((*params, *fn.params)))
        made = replace(self.program, function=function, args=(*args, *self.program.args))
        return Emulated(made, tuple(self.shared.values()), tuple(self.waits), self.whole, watches)

    # ---- statements ----------------------------------------------------------------------------

    def block(self, block: Block) -> Block:
        b, outside = Builder(), self.shown
        self.shown = []
        for stmt in block.stmts:
            b.loc = stmt.loc
            if any(_meets_others(s) for region in regions(stmt) for s in walk(region)):
                self.settle(b)
            self.stmt(b, map_regions(stmt, self.block))
        self.settle(b)
        self.shown = outside
        return replace(block, stmts=tuple(b.stmts))

    def stmt(self, b: Builder, stmt: Stmt) -> None:
        match stmt:
            case Prim(op=op) if op in THREADS:
                pass
            case Alloc(result=r, space="shared", shape=shape):
                lengths = tuple(map(_length, shape))
                self.shared[r] = Shared(r, _dtype(r), lengths)
            case Alloc(result=r, space="dynamic"):
                self.shared[r] = Shared(r, _dtype(r))
            case Alloc(result=r, space="local"):
                b.append(replace(stmt, space=""))
                if array_of(r).is_float:
                    _fill(b, r, _poison(array_of(r).element))
            case Accumulate(atomic=True):
                b.append(replace(stmt, atomic=False))
            case Atomic():
                _atomic(b, stmt)
            case Barrier():
                self.wait(b, stmt.scope, stmt.loc)
            case Shuffle():
                self.shuffle(b, stmt)
            case Extern(routine=routine) if routine in VOTES:
                self.vote(b, stmt)
            case Extern() if _is_watch(stmt):
                who = (self.numbers["thread"], self.numbers["first"])
                b.append(replace(stmt, args=(self.memory, *stmt.args, *who)))
            case _:
                b.append(stmt)

    def wait(self, b: Builder, scope: str, loc: Loc, orders: bool = True) -> None:
        stmt = Barrier(scope, loc)
        b.append(stmt)
        self.waits.append(Wait(stmt, orders))
        for slots, _ in self.shown:
            self.hide(b, slots)
        self.shown = []

    def settle(self, b: Builder) -> None:
        """Wait until all have read what is shown, if anything is."""
        if self.shown:
            self.wait(b, "warp", self.shown[-1][1], orders=False)

    def slots(self, dtype: str) -> Var:
        """Memory of the block with a place for every thread, which shows nothing."""
        for slots in self.free:
            if _dtype(slots) == dtype:
                self.free.remove(slots)
                return slots
        made = Var("slots", Array(Scalar(dtype), 1))
        self.shared[made] = Shared(made, dtype, slots=True)
        return made

    def hide(self, b: Builder, slots: Var) -> None:
        """Show nothing: whoever was released to read has come to a wait by now, and has read."""
        b.store(slots, [self.numbers["thread"]], _poison(array_of(slots).element))
        self.free.append(slots)

    def shuffle(self, b: Builder, stmt: Shuffle) -> None:
        """Show the value to the warp, wait for it, read the other's."""
        element = stmt.value.type
        assert isinstance(element, Scalar)
        slots, lane = self.slots(element.dtype), self.numbers["warp_lane"]
        b.store(slots, [self.numbers["thread"]], stmt.value)
        self.wait(b, "warp", stmt.loc, orders=False)
        place = b.add(b.sub(self.numbers["thread"], lane), self._source(b, stmt))
        b.append(replace(_load(b, slots, place), result=stmt.result))
        self.shown.append((slots, stmt.loc))

    def _source(self, b: Builder, stmt: Shuffle) -> Atom:
        """The lane that a shuffle reads."""
        lane = self.numbers["warp_lane"]
        match stmt.kind:
            case "down":
                source = b.add(lane, stmt.lane)
                return b.select(b.prim("lt", source, index(WARP)), source, lane)
            case "up":
                source = b.sub(lane, stmt.lane)
                return b.select(b.prim("ge", source, index(0)), source, lane)
            case "xor":
                source = b.prim("bitxor", lane, stmt.lane)
                return b.select(b.prim("lt", source, index(WARP)), source, lane)
            case _:
                return b.prim("mod", stmt.lane, index(WARP))

    def vote(self, b: Builder, stmt: Extern) -> None:
        """Show 1 or 2 for no or yes, wait, count what the others show."""
        (p,), (result,) = stmt.args, stmt.results
        block = stmt.routine.startswith("sync")
        scope = "block" if block else "warp"
        slots, lane = self.slots("int8"), self.numbers["warp_lane"]
        one, two = const(1, Scalar("int8")), const(2, Scalar("int8"))
        b.store(slots, [self.numbers["thread"]], b.select(p, two, one))
        self.wait(b, scope, stmt.loc, orders=block)
        first = index(0) if block else b.sub(self.numbers["thread"], lane)
        count = b.dim(slots, 0) if block else index(WARP)
        found = self._count(b, stmt.routine, slots, first, count)
        self.shown.append((slots, stmt.loc))
        b.append(Prim(result, "cast", (found,), stmt.loc))

    def _count(self, b: Builder, routine: str, slots: Var, first: Atom, count: Atom) -> Atom:
        """What the votes come to: how many said yes, whether all or any did, or a bit for each."""
        wanted = routine.removeprefix("sync_").removeprefix("warp_")
        start = const(True, BOOL) if wanted in ("and", "all") else index(0)
        with b.for_(count, [start], "other", [wanted]) as loop:
            shown = b.load(slots, [b.add(first, loop.k)], "shown")
            (so_far,) = loop.carried
            if wanted in ("and", "all"):
                after = b.prim("and", so_far, b.prim("ne", shown, const(1, shown.type)))
            else:
                yes = b.cast(b.prim("eq", shown, const(2, shown.type)), I64)
                bit = b.prim("lshift", yes, loop.k) if wanted == "ballot" else yes
                after = b.add(so_far, bit)
            loop.yields = [after]
        (found,) = loop.results
        return b.prim("gt", found, index(0)) if wanted in ("or", "any") else found


def _is_watch(stmt: Stmt) -> TypeGuard[Extern]:
    return isinstance(stmt, Extern) and stmt.routine in WATCHES


def _poison(element: Type) -> Atom:
    """What stands where nothing has been written."""
    return const(float("nan") if element.is_float else 0, element)


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


def _length(n: Atom) -> int:
    """The length of an axis of a shared array."""
    assert isinstance(n, Const)
    return int(n.value)


def _dtype(v: Var) -> str:
    element = array_of(v).element
    assert isinstance(element, Scalar)
    return element.dtype


def _fill(b: Builder, array: Var, value: Atom) -> None:
    """array[...] = value"""
    with b.each([b.dim(array, axis) for axis in range(array_of(array).ndim)]) as place:
        b.store(array, place, value)


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
        "nanmax": lambda: b.prim("fmax", before, x),
        "nanmin": lambda: b.prim("fmin", before, x),
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

    waits: dict[Barrier, int]

    def threads(self, stmt: Stmt) -> None:
        if not isinstance(stmt, Barrier):
            raise InternalError(f"{type(stmt).__name__} is expanded before writing")
        self.line(f"yield {ENDED if stmt.scope == 'end' else self.waits[stmt]}")


class _Generator(Module):
    def __init__(self, name: str, made: Emulated) -> None:
        super().__init__(name, made.program, {})
        self.waits = {wait.barrier: n + 1 for n, wait in enumerate(made.waits)}

    def writer(self) -> Writer:
        made = _ThreadWriter(self.fn, self.names, self.given, self.exceptions)
        made.waits = self.waits
        return made
