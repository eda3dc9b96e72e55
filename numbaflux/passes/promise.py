"""Which arguments are different arrays because a parallel loop would otherwise race.

note [Promise]  `prange` promises that no iteration touches an element that another one writes, and
Numba does not check it.  So where every iteration stores y[k] and every iteration reads w[0], or
w[j] for j = 0, 1, ..., or w[k + 1], then y and w cannot be one array, if there are iterations
enough to meet.  Where iteration k reads w[k], they can.

    for k in prange(n):
        y[k] = x[k] * w[0]      y may be x, and is not w
"""

from __future__ import annotations

from collections.abc import Iterator

from numbaflux.ir.nodes import Atom, Block, For, Function, If, Stmt, Var
from numbaflux.ir.walk import regions, walk
from numbaflux.passes.dependence import Access, Dependence, accesses
from numbaflux.passes.forms import ONE, Form, plus


def promised(fn: Function) -> frozenset[tuple[Var, Var]]:
    """The pairs of arguments, either way round, that a loop on threads needs apart."""
    if not fn.options.get("parallel"):
        return frozenset()  # a prange is a range then
    loops = [s for s in walk(fn.block) if isinstance(s, For) and s.parallel]
    dependence = Dependence.of(fn)
    return frozenset(pair for loop in loops for pair in _pairs(loop, fn, dependence))


def _pairs(loop: For, fn: Function, dependence: Dependence) -> Iterator[tuple[Var, Var]]:
    touched = [a for s in _certain(loop.body) for a in accesses(Block((), (s,)))]
    for a in touched:
        for b in touched:
            x, y = (_argument(fn, dependence.element(c)[0]) for c in (a, b))
            if a.writes and x and y and x is not y and _clash(a, b, loop, dependence):
                yield x, y
                yield y, x


def _argument(fn: Function, array: Atom) -> Var | None:
    return array if isinstance(array, Var) and array in fn.params else None


def _certain(block: Block) -> Iterator[Stmt]:
    """The statements that run whatever the conditions."""
    for stmt in block.stmts:
        if not regions(stmt):
            yield stmt
        elif not isinstance(stmt, If):
            for region in regions(stmt):
                yield from _certain(region)


def _clash(a: Access, b: Access, loop: For, dependence: Dependence) -> bool:
    """Whether iterations i and j != i touch one element by a and by b, were the arrays one."""
    at, bt = dependence.element(a)[1], dependence.element(b)[1]
    if at is None or bt is None or len(at) != len(bt):
        return False
    k = loop.body.params[0]
    firsts: set[int] = set()  # what i must be
    steps: set[int] = set()  # what i - j must be
    for f, g in zip(at, bt, strict=True):
        gap = _gap(f, g, loop, dependence)
        match f.get(k, 0), g.get(k, 0), gap:
            case (0, 0, 0):
                pass
            case (1, 0, int()):
                firsts.add(gap)
            case (1, 1, int()):
                steps.add(gap)
            case _:
                return False
    if len(firsts) > 1 or len(steps) > 1 or 0 in steps:
        return False
    return min(firsts) >= max({0} | steps) if firsts else bool(steps)


def _gap(f: Form, g: Form, loop: For, dependence: Dependence) -> int | None:
    """g - f in the first trips of the loops within, but for the counter; None if not known."""
    gap = dict(plus(g, f, -1))
    gap.pop(loop.body.params[0], None)
    for a in [a for a in gap if not dependence.invariant(a, loop)]:
        if a not in dependence.loops:
            return None
        del gap[a]
    constant = gap.pop(ONE, 0)
    return None if gap else constant
