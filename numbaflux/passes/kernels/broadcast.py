"""Trees that sum up a block, backward: all threads read what one element has got.

    atomic d[0] += ..                            d[0] += ..
    for k in range(7):                           barrier
        barrier                           →      v = d[0]
        s = 1 << k                               if t != 0: d[t] += v
        if t < s: d[t + s] += d[t]               barrier

A loop whose trips are known and that moves nothing but elements of shared shadows is run here, for
all threads of the block: if it leaves in every thread's element what was in one of them when all
others were zero, it is a broadcast, whatever its steps are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import (
    I64,
    Accumulate,
    Alloc,
    Atom,
    Barrier,
    Block,
    Const,
    For,
    Function,
    If,
    Load,
    Prim,
    Var,
)
from numbaflux.ir.ops import SHARED
from numbaflux.ir.walk import regions, uses, walk, within
from numbaflux.passes.kernels.barriers import barriers
from numbaflux.passes.kernels.owner import Known
from numbaflux.passes.kernels.trips import launched, trips
from numbaflux.passes.simplify import simplify

LONGEST = 32  # trips

# What operations do to the integers of all threads at once.
VALUES: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "floordiv": np.floor_divide,
    "mod": np.mod, "min": np.minimum, "max": np.maximum, "rshift": np.right_shift,
    "lshift": np.left_shift, "bitand": np.bitwise_and, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "select": np.where,
}  # fmt: skip


@stage
def broadcast(fn: Function, shadows: frozenset[Var], launch: Known) -> Function:
    """The kernel with such loops over `shadows` replaced."""
    if not any(isinstance(s, Alloc) and s.space in SHARED for s in walk(fn.block)):
        return fn
    if any(f"thread_{axis}" in launch.many for axis in "yz"):
        return fn
    known = barriers(simplify(launched(fn, launch.block, launch.many)))
    known = simplify(trips(known))
    b, changed = Builder(fn.loc), False
    for n, stmt in enumerate(known.block.stmts):
        b.loc = stmt.loc
        found = _Moves(known, shadows, launch, n).run(stmt) if isinstance(stmt, For) else None
        if found is None:
            b.append(stmt)
        else:
            changed = True
            _read_by_all(b, found)
    block = replace(known.block, stmts=tuple(b.stmts))
    return simplify(replace(known, block=block)) if changed else fn


def _read_by_all(b: Builder, sources: Mapping[Var, int]) -> None:
    thread = b.prim("thread_x", type=I64, name="thread_x")
    b.append(Barrier("block", b.loc))
    for array, source in sources.items():
        v = b.load(array, [index(source)], "total")
        with b.arm() as then:
            b.append(Accumulate(array, (thread,), v, b.loc, True))
        with b.arm() as nothing:
            pass
        b.if_(b.prim("ne", thread, index(source)), then.block, nothing.block)
    b.append(Barrier("block", b.loc))


@dataclass(frozen=True, slots=True)
class _Moves:
    """The statement number `at` of a kernel, as a loop that moves elements."""

    fn: Function
    shadows: frozenset[Var]
    launch: Known
    at: int

    def run(self, loop: For) -> dict[Var, int] | None:
        """The arrays that it fills, and the element of each that it fills them with."""
        count = int(loop.count.value) if isinstance(loop.count, Const) else LONGEST + 1
        if loop.results or count > LONGEST:
            return None
        arrays = {s.array for s in walk(loop.body) if isinstance(s, Load | Accumulate)}
        made = {s.result: s for s in self.fn.block.stmts[: self.at] if isinstance(s, Alloc)}
        found: dict[Var, int] = {}
        copies: dict[Atom, np.ndarray] = {}
        for a in arrays:
            alloc = made.get(a) if isinstance(a, Var) else None
            source = None if alloc is None or alloc.result not in self.shadows else self._source(a)
            if alloc is None or source is None or not self._fits(alloc):
                return None
            (n,) = (int(n.value) for n in alloc.shape if isinstance(n, Const))
            copies[a] = np.zeros(n, np.int64)
            copies[a][source] = 1
            found[alloc.result] = source
        with np.errstate(all="ignore"):
            moved = all(self._trip(loop.body, loop.body.params[0], k, copies) for k in range(count))
        threads = self.launch.block[0]
        filled = all((c[:threads] == 1).all() and not c[threads:].any() for c in copies.values())
        return found if found and moved and filled else None

    def _fits(self, alloc: Alloc) -> bool:
        size = alloc.shape[0]
        whole = isinstance(size, Const) and int(size.value) >= self.launch.block[0]
        return alloc.space == "shared" and alloc.zero and len(alloc.shape) == 1 and whole

    def _source(self, array: Atom) -> int | None:
        """The element that is all that has been added to before."""
        places = set()
        for s in self.fn.block.stmts[: self.at]:
            touching = (t for t in within(s) if not regions(t) and not isinstance(t, Alloc))
            for t in touching:
                if array not in uses(t):
                    continue
                if not isinstance(t, Accumulate) or not isinstance(t.index[0], Const):
                    return None
                places.add(int(t.index[0].value))
        return places.pop() if len(places) == 1 and min(places) >= 0 else None

    def _trip(self, body: Block, k: Var, number: int, copies: dict[Atom, np.ndarray]) -> bool:
        """Move what a trip moves; False where that is not seen."""
        known: dict[Atom, Any] = {k: number}
        before = {a: c.copy() for a, c in copies.items()}
        moves: list[tuple[Atom, np.ndarray, np.ndarray]] = []
        everybody = np.ones(self.launch.block[0], bool)
        threads = (s for s in walk(self.fn.block) if isinstance(s, Prim) and s.op == "thread_x")
        known |= {s.result: np.arange(len(everybody)) for s in threads}
        if not self._block(body, known, everybody, moves):
            return False
        for array, source, target in moves:
            inside = all(((p >= 0) & (p < len(before[array]))).all() for p in (source, target))
            if not inside or len(np.unique(target)) < len(target) or np.isin(source, target).any():
                return False
            copies[array][target] += before[array][source]
        return True

    def _block(self, block: Block, known: dict[Atom, Any], active: np.ndarray, moves: list) -> bool:
        loads: dict[Atom, tuple[Atom, np.ndarray]] = {}

        def value(a: Atom) -> Any:
            return a.value if isinstance(a, Const) else known.get(a)

        for stmt in block.stmts:
            match stmt:
                case Prim(result, op, args) if op in VALUES:
                    values = [value(a) for a in args]
                    known[result] = None if any(v is None for v in values) else VALUES[op](*values)
                case Load(result, array, (i,)) if value(i) is not None:
                    loads[result] = array, np.broadcast_to(value(i), active.shape)
                case Accumulate(array, (i,), v) if v in loads and value(i) is not None:
                    source, place = loads[v]
                    if source is not array:
                        return False
                    target = np.broadcast_to(value(i), active.shape)
                    moves.append((array, place[active], target[active]))
                case If(results=(), cond=cond) if value(cond) is not None:
                    holds = np.broadcast_to(value(cond), active.shape)
                    for arm, some in ((stmt.then, active & holds), (stmt.orelse, active & ~holds)):
                        if not self._block(arm, known, some, moves):
                            return False
                case Barrier():
                    pass
                case _:
                    return False
        return True
