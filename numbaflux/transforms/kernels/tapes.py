"""What a kernel keeps from its way there for its way back, as arrays of the host.

A derivative's program allocates what it keeps like any other (`Alloc` without a space).  A kernel
cannot: before it is compiled, such arrays become arguments with one more axis, the last, for the
number of the thread in the grid, so that threads of a warp touch neighbouring elements.  How long
the other axes have to be is known before the launch, as a bound of an expression of the arguments;
what grows with the trips of a `while` is counted by a kernel that does nothing else.

note [Bounds]  An expression has a bound if it is made of parameters, lengths, numbers of threads
and operations that are monotone in each argument; a loop of any other length counts as a `while`
does (passes/counters.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, array_of, index, zero_of
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Alloc,
    Array,
    Atom,
    Atomic,
    Block,
    Const,
    Dim,
    Function,
    Load,
    Prim,
    Scalar,
    Stmt,
    Store,
    Var,
)
from numbaflux.ir.ops import OPS, THREADS
from numbaflux.ir.trees import Leaf, Program
from numbaflux.ir.walk import map_regions, regions, uses, walk
from numbaflux.passes.alias import Aliases
from numbaflux.passes.simplify import simplify
from numbaflux.transforms.kernels.numbers import in_grid
from numbaflux.transforms.kernels.winners import without_again

COUNTS = "counts"  # the argument of a counting kernel: [tape, thread]
WORDS = 16  # of four bytes, that a thread keeps in its registers


@dataclass(frozen=True, slots=True)
class Tape:
    """An argument that whoever launches allocates: [*shape, thread]; shape is None if counted.

    `of`: the allocation in the kernel's program.
    """

    of: Var
    array: Var
    shape: tuple[Atom, ...] | None


@dataclass(frozen=True, slots=True)
class Taped:
    """A kernel that can be compiled, its tapes (its last arguments), and what counts for them.

    The arguments of `counting` are those of the kernel, the counts, and the tapes in `before`.
    """

    program: Program
    tapes: tuple[Tape, ...]
    counting: Program | None
    definitions: Mapping[Var, Stmt]
    before: tuple[Tape, ...] = ()


def in_registers(fn: Function) -> Function:
    """The kernel with the first few small arrays of what it keeps as its threads' own.

    A loop that is written out names their elements, which the compiler then has registers for.
    """
    small: set[Stmt] = set()
    room = WORDS
    for stmt in walk(fn.block):
        if isinstance(stmt, Alloc) and not stmt.space and (words := _words(stmt)) <= room:
            small.add(stmt)
            room -= words

    def visit(block: Block) -> Block:
        stmts = (replace(s, space="local") if s in small else s for s in block.stmts)
        return replace(block, stmts=tuple(map_regions(s, visit) for s in stmts))

    return replace(fn, block=visit(fn.block)) if small else fn


def _words(stmt: Alloc) -> int:
    """How many words of four bytes an array has; too many if that is not known."""
    t = array_of(stmt.result)
    lengths = [int(n.value) for n in stmt.shape if isinstance(n, Const)]
    if len(lengths) < len(stmt.shape) or t.grows or not isinstance(t.element, Scalar):
        return WORDS + 1
    return prod(lengths) * -(-t.element.numpy.itemsize // 4)


def taped(program: Program) -> Taped:
    """The kernel with its allocations made arguments."""
    fn = without_again(program.function)
    shorter, program = fn is not program.function, replace(program, function=fn)
    found = [s for s in walk(fn.block) if isinstance(s, Alloc) and not s.space]
    tapes: dict[Atom, Tape] = {s.result: _tape(s) for s in found}
    definitions: dict[Var, Stmt] = {
        s.result: s for s in walk(fn.block) if isinstance(s, Prim | Dim | Load)
    }
    if not tapes:
        program = replace(program, function=simplify(fn)) if shorter else program
        return Taped(program, (), None, definitions)
    made = _with_tapes(program, tapes)
    counted = [s for s in found if array_of(s.result).grows]
    if not counted:
        return Taped(made, tuple(tapes.values()), None, definitions)
    counting = _counting(program, counted)
    used = {s.result for s in walk(counting.function.block) if isinstance(s, Alloc)}
    before: dict[Atom, Tape] = {r: tape for r, tape in tapes.items() if r in used}
    counting = _with_tapes(counting, before)
    return Taped(made, tuple(tapes.values()), counting, definitions, tuple(before.values()))


def _with_tapes(program: Program, tapes: Mapping[Atom, Tape]) -> Program:
    lowered = _Lowered(program.function, tapes).function()
    extra = tuple((t.array.name, Leaf(t.array)) for t in tapes.values())
    return replace(program, function=lowered, args=(*program.args, *extra))


def _tape(stmt: Alloc) -> Tape:
    t = array_of(stmt.result)
    if not isinstance(t.element, Scalar):
        raise UnsupportedError(
            "references to arrays that a loop of a kernel chooses between", stmt.loc,
            "a kernel has nowhere to keep them", "choose between elements instead",
        )  # fmt: skip
    array = Var(stmt.result.name, Array(t.element, t.ndim + 1))
    return Tape(stmt.result, array, None if t.grows else stmt.shape)


class _Lowered:
    """The kernel whose accesses to what it allocated go to its thread's place on the tape."""

    def __init__(self, fn: Function, tapes: Mapping[Atom, Tape]) -> None:
        self.fn, self.tapes = fn, tapes
        self.head = Builder(fn.loc)
        self.thread = in_grid(self.head)

    def function(self) -> Function:
        block = self.block(self.fn.block)
        params = (*block.params, *(t.array for t in self.tapes.values()))
        block = Block(params, (*self.head.stmts, *block.stmts), block.yields)
        return simplify(replace(self.fn, block=block))

    def block(self, block: Block) -> Block:
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            stmts += self.stmt(map_regions(stmt, self.block))
        return replace(block, stmts=tuple(stmts))

    def stmt(self, stmt: Stmt) -> list[Stmt]:
        match stmt:
            case Alloc(result=r, zero=zero) if r in self.tapes:
                return self.zeroing(r, stmt) if zero else []
            case Load() | Store() | Accumulate() if stmt.array in self.tapes:
                tape = self.tapes[stmt.array].array
                return [replace(stmt, array=tape, index=(*stmt.index, self.thread))]
            case _:
                chosen = (a for region in regions(stmt) for a in region.yields)
                for a in (*uses(stmt), *chosen):
                    if a in self.tapes:
                        raise UnsupportedError(
                            "another name for an array that a kernel makes", stmt.loc,
                            "it is not small, of constant shape, so it lies on a tape, where its "
                            "elements are not beside each other",
                            "index the array itself, or give it a constant shape",
                        )  # fmt: skip
                return [stmt]

    def zeroing(self, r: Var, stmt: Alloc) -> list[Stmt]:
        b = Builder(stmt.loc)
        tape = self.tapes[r]
        with b.each(stmt.shape) as place:
            b.store(tape.array, [*place, self.thread], zero_of(array_of(r).element))
        return b.stmts


# ---- how long ----------------------------------------------------------------------------------


def _counting(program: Program, counted: list[Alloc]) -> Program:
    """The kernel that does nothing but store how many elements each growing array gets."""
    fn = program.function
    rows = {s.result: n for n, s in enumerate(counted)}
    made = {s.result for s in walk(fn.block) if isinstance(s, Alloc)}
    counts = Var(COUNTS, Array(I64, 2))
    head = Builder(fn.loc)
    thread = in_grid(head)
    read: list[Var] = []

    def visit(block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            match stmt:
                case Alloc(result=r) if r in rows:
                    pass
                case Store(array=a, index=(place,)) | Accumulate(array=a, index=(place,)) if (
                    a in rows
                ):
                    b.store(counts, [index(rows[a]), thread], b.add(place, index(1)))
                case Load(result=r, array=a) if a in rows:
                    b.append(Prim(r, "stop_gradient", (zero_of(r.type),), stmt.loc))
                    read.append(r)
                case Store(array=a) | Accumulate(array=a) | Atomic(array=a) if a not in made:
                    pass
                case _:
                    b.append(map_regions(stmt, visit))
        return replace(block, stmts=tuple(b.stmts))

    block = visit(fn.block)
    block = Block((*block.params, counts), (*head.stmts, *block.stmts), block.yields)
    found = simplify(replace(fn, name=f"count_{fn.name}", block=block))
    alias, written = Aliases(fn), Aliases(fn).written_in(fn.block)
    for stmt in walk(found.block):
        match stmt:
            case Prim(result=r):
                unknown = r in read
            case Load(array=a):
                unknown = a not in made and not written.isdisjoint(alias.of(a))
            case _:
                unknown = False
        if unknown:
            raise UnsupportedError(
                "a `while` in a kernel whose trips depend on what the kernel stores", stmt.loc,
                "how many there are cannot be counted before", "give the loop a fixed bound",
            )  # fmt: skip
    return Program(found, (*program.args, (COUNTS, Leaf(counts))), program.result)


Interval = tuple[int, int]


def upper_bound(
    a: Atom, definitions: Mapping[Var, Stmt], known: Mapping[Var, int], extent: Mapping[str, int]
) -> int:
    """The largest value an integer of a kernel has in any thread of a launch.

    `known`: what parameters and lengths are; `extent`: how many values each number of a thread has,
    or, of the launch's own numbers, which. note [Bounds]
    """

    def interval(a: Atom) -> Interval:
        if isinstance(a, Const):
            return int(a.value), int(a.value)
        assert isinstance(a, Var)
        if a in known:
            return known[a], known[a]
        match definitions[a]:
            case Prim(op=op) if op in THREADS:
                size = extent[op]
                fixed = op.startswith(("block_dim", "grid_dim", "grid_size", "dynamic"))
                return (size, size) if fixed else (0, size - 1)
            case Prim(op=op, args=args):
                return _combined(op, [interval(x) for x in args])
            case _:
                raise KeyError(a)

    return interval(a)[1]


def _combined(op: str, args: list[Interval]) -> Interval:
    """An operation on intervals; exact numbers give an exact number."""
    if all(low == high for low, high in args):
        value = int(OPS[op].value(*(low for low, _ in args)))
        return value, value
    corners = [(x, y) for x in args[0] for y in args[-1]]
    match op:
        case "add":
            return args[0][0] + args[1][0], args[0][1] + args[1][1]
        case "sub":
            return args[0][0] - args[1][1], args[0][1] - args[1][0]
        case "neg":
            return -args[0][1], -args[0][0]
        case "mul":
            found = [x * y for x, y in corners]
            return min(found), max(found)
        case "floordiv" if args[1][0] > 0:
            found = [x // y for x, y in corners]
            return min(found), max(found)
        case "max":
            return max(args[0][0], args[1][0]), max(args[0][1], args[1][1])
        case "min":
            return min(args[0][0], args[1][0]), min(args[0][1], args[1][1])
        case "select":
            return min(args[1][0], args[2][0]), max(args[1][1], args[2][1])
        case "cast":
            return args[0]
        case _:
            raise KeyError(op)
