"""Loops of threads that step by the number of threads, without a division.

    for k in range((n - i + s - 1) // s):  use(i + k*s)    s: a number of threads

counts its trips by a division, which a GPU has no instruction for.  Written as what the user wrote,
a loop that adds s to i while i < n, it has none:

    if i < n:
        while True:
            use(i)
            i += s
            if i >= n: break
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from numbaflux.debug import stage
from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import I64, Atom, Block, Const, For, Function, If, Prim, Var
from numbaflux.ir.walk import clone, defs, map_regions, walk
from numbaflux.passes.forms import ONE, atom_of, form, plus

THREADS = ("block_dim", "grid_dim", "grid_size")  # numbers of the launch, all positive


@dataclass(frozen=True, slots=True)
class _Strided:
    """A loop over start + k*step while that is less than stop; `element` is that in the body."""

    loop: For
    step: Atom
    start: Atom
    element: Var
    stop: Atom


@stage
def strides(fn: Function) -> Function:
    """The kernel with its loops over strides of threads counted by their element."""
    return _Strides(fn).run()


class _Strides:
    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.defined = {s.result: s for s in walk(fn.block) if isinstance(s, Prim)}

    def run(self) -> Function:
        return replace(self.fn, block=self.block(self.fn.block))

    def block(self, block: Block) -> Block:
        b = Builder()
        for stmt in block.stmts:
            b.loc = stmt.loc
            inner = map_regions(stmt, self.block)
            found = self.strided(b, inner) if isinstance(inner, For) else None
            if found is None:
                b.append(inner)
            else:
                _rewritten(b, found)
        return replace(block, stmts=tuple(b.stmts))

    def strided(self, b: Builder, loop: For) -> _Strided | None:
        """What a loop steps over, if it is such a loop."""
        count = self.defined.get(loop.count) if isinstance(loop.count, Var) else None
        if count is None or count.op != "floordiv":
            return None
        room, step = count.args
        if not self.threads(step):
            return None
        for element, start in self.elements(loop, step):
            # k < room // step  is  start + k*step < room - step + start + 1
            begin = form(start, self.defined)
            total = plus(plus(form(room, self.defined), begin), form(step, self.defined), -1)
            if all(v == ONE or v not in total for v in begin):
                stop = atom_of(b, plus(total, {ONE: 1}), "stop")
                return _Strided(loop, step, start, element, stop)
        return None

    def elements(self, loop: For, step: Atom) -> Iterator[tuple[Var, Atom]]:
        """The variables of the body that are k*step + start, each with its start."""
        k, inside = loop.body.params[0], {s.result for s in _prims(loop.body)}
        inside.update(loop.body.params)
        moved = {s.result for s in _prims(loop.body) if s.op == "mul" and set(s.args) == {k, step}}
        for stmt in _prims(loop.body):
            if stmt.op == "add":
                for x, y in (stmt.args, stmt.args[::-1]):
                    if x in moved and y not in inside and y.type == I64:
                        yield stmt.result, y

    def threads(self, a: Atom) -> bool:
        """Whether an integer is a number of threads or blocks, or a product of such."""
        stmt = self.defined.get(a) if isinstance(a, Var) else None
        if stmt is None:
            return isinstance(a, Const) and int(a.value) > 0
        if stmt.op == "mul":
            return all(self.threads(x) for x in stmt.args)
        return stmt.op.startswith(THREADS)


def _prims(block: Block) -> list[Prim]:
    return [s for s in block.stmts if isinstance(s, Prim)]


def _rewritten(b: Builder, found: _Strided) -> None:
    """The loop as a guarded do-while; it has the same results."""
    loop, body = found.loop, found.loop.body
    k, *params = body.params
    with b.arm() as then:
        inits = [found.start, index(0), *loop.inits]
        names = [found.element.name, k.name, *(p.name for p in params)]
        with b.while_(inits, names) as turn:
            element, number, *carried = turn.params
            env = {k: number, found.element: element, **dict(zip(params, carried))}
            rest = tuple(s for s in body.stmts if found.element not in defs(s))
            block, _ = clone(Block((), rest, body.yields), env)
            b.stmts += block.stmts
            after = b.add(element, found.step, name=found.element.name)
            go = b.prim("lt", after, found.stop)
            turn.yields = [go, after, b.add(number, index(1), name=k.name), *block.yields]
        then.yields = turn.results[2:]
    with b.arm() as orelse:
        orelse.yields = loop.inits
    some = b.prim("lt", found.start, found.stop)
    b.append(If(loop.results, some, then.block, orelse.block, loop.loc))
