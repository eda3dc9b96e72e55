"""Going over the IR: what a statement uses and defines, substitution, fresh copies.

The only module that knows the shape of every node kind without caring what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
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
    Global,
    How,
    If,
    Index,
    Load,
    Prim,
    Print,
    Raise,
    Reshape,
    Shuffle,
    Slice,
    Stmt,
    Store,
    Transpose,
    Var,
    View,
    While,
)


def uses(stmt: Stmt) -> tuple[Atom, ...]:
    """The atoms a statement reads itself, not those its regions read."""
    match stmt:
        case Prim(args=args) | Extern(args=args) | Custom(args=args):
            return args
        case Call(args=args) | Print(args=args):
            return args
        case Alloc(shape=shape):
            return shape
        case Load(array=array, index=index):
            return (array, *index)
        case Store() | Accumulate():
            return (stmt.array, *stmt.index, stmt.value)
        case View(base=base, how=how):
            return (base, *_view_atoms(how))
        case Dim(array=array):
            return (array,)
        case Gemm(out=out, a=a, b=b):
            return (out, a, b)
        case Atomic(array=array, index=index, args=args):
            return (array, *index, *args)
        case Shuffle(value=value, lane=lane):
            return (value, lane)
        case Barrier():
            return ()
        case If(cond=cond):
            return (cond,)
        case For(count=count, inits=inits, slots=slots):
            return (count, *inits) if slots is None else (count, *inits, slots)
        case While(inits=inits):
            return inits
        case Raise(cond=cond, args=args):
            return (cond, *args)
        case _:
            assert_never(stmt)


def defs(stmt: Stmt) -> tuple[Var, ...]:
    """The variables a statement defines in its own block."""
    match stmt:
        case Prim() | Alloc() | Load() | View() | Dim() | Atomic() | Shuffle():
            return (stmt.result,)
        case Extern() | Custom() | Call() | If() | For() | While():
            return stmt.results
        case Store() | Accumulate() | Gemm() | Barrier() | Raise() | Print():
            return ()
        case _:
            assert_never(stmt)


NESTED = frozenset((If, For, While))


def regions(stmt: Stmt) -> tuple[Block, ...]:
    """The blocks inside a statement."""
    match stmt:
        case If():
            return (stmt.then, stmt.orelse)
        case For() | While():
            return (stmt.body,)
        case _:
            return ()


def walk(block: Block) -> Iterator[Stmt]:
    """Every statement of a block and of the regions inside it, in order."""
    unfinished = [iter(block.stmts)]
    while unfinished:
        for stmt in unfinished[-1]:
            yield stmt
            if type(stmt) in NESTED:
                unfinished += [iter(region.stmts) for region in reversed(regions(stmt))]
                break
        else:
            unfinished.pop()


def blocks(block: Block) -> Iterator[Block]:
    """A block and every region inside it."""
    yield block
    for stmt in walk(block):
        yield from regions(stmt)


def within(stmt: Stmt) -> Iterator[Stmt]:
    """A statement and every one in its regions."""
    yield stmt
    for region in regions(stmt):
        yield from walk(region)


def free(block: Block) -> dict[Var, None]:
    """Variables a block uses, inside regions too, but does not define; in order of first use."""
    bound: set[Var] = set()
    found: dict[Var, None] = {}

    def see(atoms: Iterable[Atom]) -> None:
        for a in atoms:
            if isinstance(a, Var) and a not in bound:
                found.setdefault(a)

    def visit(b: Block) -> None:
        bound.update(b.params)
        for stmt in b.stmts:
            see(uses(stmt))
            for region in regions(stmt):
                visit(region)
            bound.update(defs(stmt))
        see(b.yields)

    visit(block)
    return found


def map_atoms(stmt: Stmt, f: Callable[[Atom], Atom]) -> Stmt:
    """The statement with `f` applied to the atoms it reads itself (regions untouched)."""

    def fs(atoms: tuple[Atom, ...]) -> tuple[Atom, ...]:
        return tuple(f(a) for a in atoms)

    match stmt:
        case Prim() | Extern() | Custom() | Call() | Print():
            return replace(stmt, args=fs(stmt.args))
        case Alloc():
            return replace(stmt, shape=fs(stmt.shape))
        case Load():
            return replace(stmt, array=f(stmt.array), index=fs(stmt.index))
        case Store() | Accumulate():
            return replace(stmt, array=f(stmt.array), index=fs(stmt.index), value=f(stmt.value))
        case View():
            return replace(stmt, base=f(stmt.base), how=_map_view(stmt.how, f))
        case Dim():
            return replace(stmt, array=f(stmt.array))
        case Gemm():
            return replace(stmt, out=f(stmt.out), a=f(stmt.a), b=f(stmt.b))
        case Atomic():
            args, index = fs(stmt.args), fs(stmt.index)
            return replace(stmt, array=f(stmt.array), index=index, args=args)
        case Shuffle():
            return replace(stmt, value=f(stmt.value), lane=f(stmt.lane))
        case Barrier():
            return stmt
        case If():
            return replace(stmt, cond=f(stmt.cond))
        case For():
            slots = None if stmt.slots is None else f(stmt.slots)
            return replace(stmt, count=f(stmt.count), inits=fs(stmt.inits), slots=slots)
        case While():
            return replace(stmt, inits=fs(stmt.inits))
        case Raise():
            return replace(stmt, cond=f(stmt.cond), args=fs(stmt.args))
        case _:
            assert_never(stmt)


def map_defs(stmt: Stmt, f: Callable[[Var], Var]) -> Stmt:
    """The statement with `f` applied to the variables it defines."""
    match stmt:
        case Prim() | Alloc() | Load() | View() | Dim() | Atomic() | Shuffle():
            return replace(stmt, result=f(stmt.result))
        case Extern() | Custom() | Call() | If() | For() | While():
            return replace(stmt, results=tuple(f(v) for v in stmt.results))
        case Store() | Accumulate() | Gemm() | Barrier() | Raise() | Print():
            return stmt
        case _:
            assert_never(stmt)


def map_regions(stmt: Stmt, f: Callable[[Block], Block]) -> Stmt:
    """The statement with `f` applied to its regions."""
    match stmt:
        case If():
            return replace(stmt, then=f(stmt.then), orelse=f(stmt.orelse))
        case For() | While():
            return replace(stmt, body=f(stmt.body))
        case _:
            return stmt


def substitute(block: Block, env: Mapping[Var, Atom]) -> Block:
    """The block with variables replaced throughout; its definitions keep their variables."""

    def f(a: Atom) -> Atom:
        return env.get(a, a) if isinstance(a, Var) else a

    def visit(b: Block) -> Block:
        stmts = tuple(map_regions(map_atoms(s, f), visit) for s in b.stmts)
        return replace(b, stmts=stmts, yields=tuple(f(a) for a in b.yields))

    return visit(block) if env else block


def clone(block: Block, env: Mapping[Var, Atom] | None = None) -> tuple[Block, dict[Var, Atom]]:
    """A copy whose definitions are fresh variables, and the map from old to new.

    Parameters found in `env` are replaced by its atoms and dropped from the copy's parameters.
    """
    new: dict[Var, Atom] = dict(env or {})

    def fresh(v: Var) -> Var:
        new[v] = w = Var(v.name, v.type)
        return w

    def f(a: Atom) -> Atom:
        return new.get(a, a) if isinstance(a, Var) else a

    def visit(b: Block) -> Block:
        params = tuple(fresh(p) for p in b.params if p not in new)
        stmts = []
        for s in b.stmts:
            s = map_regions(map_atoms(s, f), visit)
            stmts.append(map_defs(s, fresh))
        return Block(params, tuple(stmts), tuple(f(a) for a in b.yields))

    return visit(block), new


# ---- functions that are called -----------------------------------------------------------------


def callees(fn: Function) -> list[Callee]:
    """The functions that `fn` calls and those they call, each after those it calls itself."""
    seen: set[Callee] = set()
    found: list[Callee] = []

    def visit(block: Block) -> None:
        for stmt in walk(block):
            if isinstance(stmt, Call) and stmt.callee not in seen:
                seen.add(stmt.callee)
                visit(stmt.callee.function.block)
                found.append(stmt.callee)

    visit(fn.block)
    return found


def everywhere(
    fn: Function, f: Callable[[Function], Function], done: dict[Callee, Callee] | None = None
) -> Function:
    """f(fn), with `f` done to all functions it calls; `done`: which callee has become which."""
    done = {} if done is None else done

    def visit(block: Block) -> Block:
        return replace(block, stmts=tuple(map_regions(one(s), visit) for s in block.stmts))

    def one(stmt: Stmt) -> Stmt:
        if not isinstance(stmt, Call):
            return stmt
        return replace(stmt, callee=callee_everywhere(stmt.callee, f, done))

    fn = f(fn)
    return replace(fn, block=visit(fn.block))


def callee_everywhere(
    callee: Callee, f: Callable[[Function], Function], done: dict[Callee, Callee]
) -> Callee:
    """The callee with `f` done to its function and to all that it calls."""
    if callee not in done:
        done[callee] = Callee(callee.name, lambda: everywhere(callee.function, f, done))
    return done[callee]


# ---- constants ---------------------------------------------------------------------------------


def constant(a: Atom) -> object | None:
    """The value of a constant, None for anything else."""
    return a.value if isinstance(a, Const) else None


def globals_of(block: Block) -> dict[Global, None]:
    """The constant arrays a block refers to, in order."""
    found: dict[Global, None] = {}
    for stmt in walk(block):
        for a in uses(stmt):
            if isinstance(a, Global):
                found.setdefault(a)
        for region in regions(stmt):
            found.update((a, None) for a in region.yields if isinstance(a, Global))
    found.update((a, None) for a in block.yields if isinstance(a, Global))
    return found


def _view_atoms(how: How) -> tuple[Atom, ...]:
    match how:
        case Index(items):
            found: list[Atom] = []
            for item in items:
                if isinstance(item, Slice):
                    found += [a for a in (item.start, item.stop, item.step) if a is not None]
                elif item is not None:
                    found.append(item)
            return tuple(found)
        case Transpose():
            return ()
        case Reshape(shape):
            return shape


def _map_view(how: How, f: Callable[[Atom], Atom]) -> How:
    def maybe(a: Atom | None) -> Atom | None:
        return None if a is None else f(a)

    match how:
        case Index(items):
            return Index(
                tuple(
                    Slice(maybe(i.start), maybe(i.stop), maybe(i.step))
                    if isinstance(i, Slice)
                    else maybe(i)
                    for i in items
                )
            )
        case Transpose():
            return how
        case Reshape(shape):
            return Reshape(tuple(f(a) for a in shape))
