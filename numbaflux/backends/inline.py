"""Which statements disappear into the expression that uses their result.

A pure statement whose result is used once, in its own block, may be written where it is used, if
what it reads is still unchanged there.  An integer moved by a constant is written wherever it is
used: `u[i + 1]` reads well, and LLVM proves that such an index is not negative.

note [Clobber]  Of memory, only a write of the same element type can change what a Load reads, for
no two arrays of different types share memory.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeGuard

from numbaflux.backends.naming import is_temporary
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Array,
    Atom,
    Atomic,
    Barrier,
    Block,
    Call,
    Const,
    Dim,
    Extern,
    Function,
    Gemm,
    Load,
    Prim,
    Stmt,
    Store,
    Type,
    Var,
    View,
    While,
)
from numbaflux.ir.ops import OPS, ROUTINES, VOTES
from numbaflux.ir.walk import blocks, regions, uses, walk

ANYTHING = "anything"  # the kind of memory that a barrier lets others write
LONG = 70  # characters, about, of the longest expression that a temporary is inlined as
LONG_NAMED = 24  # the same for a variable that has the user's name

Inlined = dict[Var, Stmt]


def inlined(fn: Function) -> Inlined:
    """The variables that get no name, each with its statement."""
    counts = use_counts(fn.block)
    found: Inlined = {}
    for block in blocks(fn.block):
        found.update(_Candidates(block, counts).chosen())
    carried = {a for block in blocks(fn.block) for a in block.yields}
    moved = {s.result: s for s in walk(fn.block) if _moved(s) and s.result not in carried}
    base = {s.args[0] for s in moved.values()}  # has a name: it is read wherever the sum is
    found = {v: s for v, s in found.items() if v not in base} | moved
    for stmt in walk(fn.block):
        if isinstance(stmt, While) and _asks_before(stmt, found):
            found = {v: s for v, s in found.items() if v is not stmt.body.yields[0]}
    return found


def _moved(stmt: Stmt) -> TypeGuard[Prim]:
    """Whether a statement is x + c or x - c, of an integer."""
    match stmt:
        case Prim(result=Var(type=type), op="add" | "sub", args=(Var() as x, Const())):
            return type == I64 and x.type == I64
        case _:
            return False


def _asks_before(loop: While, found: Inlined) -> bool:
    """Whether a loop's condition reads what it carries, which is overwritten before the test."""
    go = loop.body.yields[0]
    return (
        isinstance(go, Var)
        and go in found
        and not set(loop.body.params).isdisjoint(operands(go, found))
    )


def use_counts(block: Block) -> Counter[Var]:
    """How often each variable is written down."""
    counts: Counter[Var] = Counter()
    for b in blocks(block):
        for stmt in b.stmts:
            counts.update(a for a in uses(stmt) if isinstance(a, Var))
        counts.update(a for a in b.yields if isinstance(a, Var))
    return counts


def operands(a: Atom, inline: Inlined) -> list[Var]:
    """The named variables that an atom's expression reads."""
    if not isinstance(a, Var):
        return []
    stmt = inline.get(a)
    return [a] if stmt is None else [v for use in uses(stmt) for v in operands(use, inline)]


@dataclass(frozen=True, slots=True)
class _Site:
    """A candidate: where it is defined, and where what it is inlined into is written."""

    stmt: Stmt
    start: int
    end: int


class _Candidates:
    """The choice for one block."""

    def __init__(self, block: Block, counts: Counter[Var]) -> None:
        self.block, self.counts = block, counts
        self.writes = [_written(s) for s in block.stmts]
        self.lengths: dict[Var, int] = {}

    def chosen(self) -> Inlined:
        """Those that may be inlined and, counted from the inside out, are short enough."""
        found: Inlined = {}
        for v, site in reversed(self._allowed().items()):
            length = self._length(site.stmt)
            if length <= (LONG if is_temporary(v.name) else LONG_NAMED):
                self.lengths[v] = length
                found[v] = site.stmt
        return found

    def _allowed(self) -> dict[Var, _Site]:
        """From the last to the first, so that a user's own place is known when it is asked."""
        sites: dict[Var, _Site] = {}
        users = self._users()
        for start in reversed(range(len(self.block.stmts))):
            stmt = self.block.stmts[start]
            v = _result(stmt)
            if v is None or self.counts[v] != 1 or v not in users:
                continue
            user = users[v]
            holder = _result(self.block.stmts[user]) if user < len(self.block.stmts) else None
            end = sites[holder].end if holder in sites else user
            if self._fits(stmt, user) and not self._clobbered(stmt, start, end):
                sites[v] = _Site(stmt, start, end)
        return sites

    def _users(self) -> dict[Var, int]:
        """Where in this block a variable is used; a yield is past the end."""
        users = {
            a: i for i, s in enumerate(self.block.stmts) for a in uses(s) if isinstance(a, Var)
        }
        end = len(self.block.stmts)
        return users | {a: end for a in self.block.yields if isinstance(a, Var)}

    def _fits(self, stmt: Stmt, user: int) -> bool:
        """A view is written only where an array is passed on, never where it is indexed."""
        if isinstance(stmt, View):
            return user < len(self.block.stmts) and isinstance(self.block.stmts[user], Gemm)
        return True

    def _clobbered(self, stmt: Stmt, start: int, end: int) -> bool:
        between = self.writes[start + 1 : end]
        match stmt:
            case Load(array=array):
                assert isinstance(array.type, Array)
                read = {_memory(array.type.element), ANYTHING}
                return any(read & written for written in between)
            case Extern():
                return any(between)
            case _:
                return False

    def _length(self, stmt: Stmt) -> int:
        form = OPS[stmt.op].form if isinstance(stmt, Prim) else "x[]"
        return len(form) + sum(self._atom_length(a) for a in uses(stmt))

    def _atom_length(self, a: Atom) -> int:
        return self.lengths.get(a, len(a.name)) if isinstance(a, Var) else len(repr(a))


def _result(stmt: Stmt) -> Var | None:
    """The variable of a statement that may be inlined at all."""
    match stmt:
        case Prim(result, op) if OPS[op].pure:
            return result
        case Load(result) | View(result):
            return result
        case Dim(result, array):
            assert isinstance(array.type, Array)
            return None if array.type.grows else result
        case Extern((result,), routine) if ROUTINES[routine].pure:
            return result
        case _:
            return None


def _memory(element: Type) -> str:
    """The kind of memory that elements of a type live in. note [Clobber]"""
    return "reference" if isinstance(element, Array) else str(element)


def _written(stmt: Stmt) -> frozenset[str]:
    """The kinds of memory that a statement, or one inside it, writes."""
    inner = [s for region in regions(stmt) for s in walk(region)]
    found = set()
    for s in (stmt, *inner):
        if isinstance(s, Barrier) or (isinstance(s, Extern) and s.routine in VOTES):
            found.add(ANYTHING)
        if isinstance(s, Store | Accumulate | Gemm | Atomic):
            base = s.out if isinstance(s, Gemm) else s.array
            assert isinstance(base.type, Array)
            found.add(_memory(base.type.element))
        if isinstance(s, Extern) and ROUTINES[s.routine].writes is not None:
            found |= {_memory(a.type.element) for a in s.args if isinstance(a.type, Array)}
        if isinstance(s, Call):
            found |= {_memory(a.type.element) for a in s.args if isinstance(a.type, Array)}
    return frozenset(found)
