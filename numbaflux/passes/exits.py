"""What a `while` hands out when it ends, and what it carries on: one value where they may be.

    do with p = a, q = 0.0:                         do with p = a:
        x = f(p)                                        x = f(p)
        y = x if go else p          →                   while go: x
        z = q if go else x
        while go: y, z                              result: x
    result: the last z

The front end's loops carry a value for the next trip and another one for what comes after; that of
the one does not matter when the loop ends, nor that of the other while it goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from numbaflux.ir.nodes import Atom, Block, Function, If, Prim, Var, While
from numbaflux.ir.walk import defs, map_regions, substitute, walk
from numbaflux.passes.dependence import all_uses

Pair = tuple[Atom, Atom]  # a value if the loop goes on, and if it ends


def exits(fn: Function) -> Function:
    """The function with such loops carrying less."""
    if not any(isinstance(s, While) for s in walk(fn.block)):
        return fn
    return _Exits(fn).run()


class _Exits:
    def __init__(self, fn: Function) -> None:
        self.fn = fn
        self.used = Counter(all_uses(fn.block))
        self.env: dict[Var, Atom] = {}

    def run(self) -> Function:
        block = self.block(self.fn.block)
        return replace(self.fn, block=substitute(block, self.env) if self.env else block)

    def block(self, block: Block) -> Block:
        stmts = (map_regions(s, self.block) for s in block.stmts)
        return replace(
            block, stmts=tuple(self.loop(s) if isinstance(s, While) else s for s in stmts)
        )

    def loop(self, loop: While) -> While:
        """The loop with what matters of each value carried; equal ones leave it as one."""
        go, *values = loop.body.yields
        pairs = _chosen(loop.body, go)
        chosen = [pairs.get(y, (y, y)) for y in values]
        for j, ((on, end), r) in enumerate(zip(chosen, loop.results, strict=True)):
            if on is not end and not self.used[r]:
                values[j] = on
                self.used[on] += 1
        for j, ((on, end), p) in enumerate(zip(chosen, loop.body.params, strict=True)):
            if on is p and end is not p and self.used[p] == 1:
                values[j] = end
        first: dict[Atom, Var] = {}
        for y, r in zip(values, loop.results, strict=True):
            if isinstance(y, Var) and first.setdefault(y, r) is not r:
                self.env[r] = first[y]
        return replace(loop, body=replace(loop.body, yields=(go, *values)))


def _chosen(body: Block, go: Atom) -> Mapping[Atom, Pair]:
    """The values of a body that are chosen by whether its loop goes on."""
    found: dict[Atom, Pair] = {}
    inverse: dict[Atom, Atom] = {
        s.result: s.args[0] for s in body.stmts if isinstance(s, Prim) and s.op == "not"
    }
    for stmt in body.stmts:
        match stmt:
            case If(results=results, cond=cond, then=then, orelse=orelse):
                inside = {v for region in (then, orelse) for s in region.stmts for v in defs(s)}
                choices = zip(results, zip(then.yields, orelse.yields, strict=True), strict=True)
            case Prim(result=r, op="select", args=(cond, a, b)):
                inside, choices = set(), [(r, (a, b))]
            case _:
                continue
        for r, (a, b) in choices:
            if inside.isdisjoint((a, b)):
                if cond is go or inverse.get(cond) is go:
                    found[r] = (a, b) if cond is go else (b, a)
                elif inverse.get(go) is cond:
                    found[r] = (b, a)
    return found
