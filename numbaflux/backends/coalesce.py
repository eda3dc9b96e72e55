"""Out of SSA: which variables share one name.

What a loop carries has four variables for one thing: the init, the param, the yield, the result;
a result of an If has three.  They share a name, and no copy is written, unless a live range
forbids it.  Two variables interfere if one is assigned while the other is live, but for an
assignment of the other itself (Chaitin 1982): `Liveness` walks backwards and collects that.

note [Evaluation]  The walk follows the order in which the writer writes: inits are copied, then
the trip count is read; yields are copied, then a While's condition is read; an inlined
expression reads its operands where it is written, not where it was defined.
note [Counter]  A For's counter is never shared with anything but another loop's counter, and
lives to the end of its loop's body, so that no inner loop takes its name.
note [Parallel]  A name of the body of a parallel loop is not used outside: Numba would take it
for a reduction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from numbaflux.backends.inline import Inlined, operands
from numbaflux.backends.naming import is_temporary, legal
from numbaflux.ir.nodes import Atom, Block, For, Function, If, Stmt, Var, While
from numbaflux.ir.walk import defs, free, regions, uses


def names_shared(fn: Function, inline: Inlined) -> dict[Var, Var]:
    """For every variable that is written, the one that stands for those that share its name."""
    live = Liveness(fn, inline)
    webs = _Webs(live, fn)
    for _, target, source in sorted(live.copies, key=lambda c: -c[0]):
        webs.join(target, source)
    webs.join_namesakes()
    return webs.leaders()


class Liveness:
    """Interference, and the copies that a shared name would save."""

    def __init__(self, fn: Function, inline: Inlined) -> None:
        self.inline = inline
        self.edges: dict[Var, set[Var]] = {}
        self.copies: list[tuple[int, Var, Var]] = []  # depth, target, source
        self.same: list[tuple[Var, Var]] = []  # a loop's param and result
        self.counters: set[Var] = set()
        self.home: dict[Var, For | None] = {}  # the parallel loop around a variable
        self._depth, self._around = 0, None
        live = self._block(fn.block, (), self._read(fn.results))
        self._define(fn.params, live)

    def _read(self, atoms: Iterable[Atom]) -> set[Var]:
        return {v for a in atoms for v in operands(a, self.inline)}

    def _define(self, targets: Sequence[Var], live: set[Var]) -> None:
        """Targets are assigned together while `live` are needed afterwards."""
        for v in targets:
            self.home.setdefault(v, self._around)
            edges = self.edges.setdefault(v, set())
            others = (live | set(targets)) - {v}
            edges |= others
            for other in others:
                self.edges.setdefault(other, set()).add(v)

    def _copy(self, targets: Sequence[Var], sources: Sequence[Atom], after: set[Var]) -> set[Var]:
        """What is live before targets = sources, a parallel assignment."""
        for target, source in zip(targets, sources, strict=True):
            fellows = set(targets) - {target}
            self._define((target,), (after - {source}) | fellows)
            if isinstance(source, Var) and source not in self.inline:
                self.copies.append((self._depth, target, source))
        return (after - set(targets)) | self._read(sources)

    def _block(self, block: Block, targets: Sequence[Var], after: set[Var]) -> set[Var]:
        live = set(after)
        if targets:
            live = self._copy(targets, block.yields[-len(targets) :], after)
        for stmt in reversed(block.stmts):
            live = self._stmt(stmt, live)
        return live

    def _stmt(self, stmt: Stmt, after: set[Var]) -> set[Var]:
        results = defs(stmt)
        if len(results) == 1 and results[0] in self.inline:
            return after
        self._depth += 1
        match stmt:
            case If():
                before = self._block(stmt.then, results, after)
                before |= self._block(stmt.orelse, results, after)
                before |= self._read([stmt.cond])
            case For() | While():
                before = self._loop(stmt, after)
            case _:
                self._define(results, after)
                before = (after - set(results)) | self._read(uses(stmt))
        self._depth -= 1
        return before

    def _loop(self, stmt: For | While, after: set[Var]) -> set[Var]:
        """note [Evaluation]; note [Counter]"""
        body, after = stmt.body, after - set(stmt.results)
        counter = body.params[:1] if isinstance(stmt, For) else ()
        params = body.params[len(counter) :]
        self.counters.update(counter)
        self.same += zip(params, stmt.results)
        self.home |= dict.fromkeys((*counter, *params, *stmt.results), self._around)
        around = self._around
        if isinstance(stmt, For) and stmt.parallel:
            self._around = stmt
        turn = after | set(params) | set(counter) | self._read(free(body))
        asked = self._read(body.yields[:1]) if isinstance(stmt, While) else set()
        inside = self._block(body, params, turn | asked)
        self._around = around
        self._define(counter, turn | inside)
        count = self._read([stmt.count]) if isinstance(stmt, For) else set()
        head = (turn | inside | count) - set(counter)
        return self._copy(params, stmt.inits, head)


class _Webs:
    """Sets of variables under one name, joined while no two of them interfere."""

    def __init__(self, live: Liveness, fn: Function) -> None:
        self.live = live
        self.params = set(fn.params)
        variables = [v for v in _defined(fn.block) if v not in live.inline]
        self.order = {v: i for i, v in enumerate(variables)}
        self.web: dict[Var, list[Var]] = {v: [v] for v in variables}
        self.edges: dict[int, set[Var]] = {
            id(w): set(live.edges.get(v, ())) for v, w in self.web.items()
        }
        for param, result in live.same:
            self._union(param, result)

    def join(self, a: Var, b: Var) -> None:
        """Join two variables of which one is copied to the other, if that is right and reads well.

        An argument keeps its name for itself.
        """
        webs = [*self.web[a], *self.web[b]]
        if not self.live.counters.isdisjoint(webs):
            return
        if not self.params.isdisjoint(webs) and not _compatible(webs):
            return
        self._try(a, b)

    def join_namesakes(self) -> None:
        """Let variables for which the user has one name, one after the other, share it."""
        groups: dict[object, list[Var]] = {}
        for v in self.order:
            if is_temporary(v.name):
                continue
            counter = v in self.live.counters
            key = (legal(v.name), v.type, self.live.home.get(v), counter)
            for other in groups.setdefault(key, []):
                if self.web[other] is self.web[v] or self._try(other, v):
                    break
            else:
                groups[key].append(v)

    def leaders(self) -> dict[Var, Var]:
        """A web is called after an argument, or else after its first variable with a name."""

        def rank(v: Var) -> tuple:
            return (v not in self.params, is_temporary(v.name), self.order[v])

        return {v: min(web, key=rank) for v, web in self.web.items()}

    def _try(self, a: Var, b: Var) -> bool:
        if self.web[a] is self.web[b]:
            return True
        if a.type != b.type or not self.edges[id(self.web[a])].isdisjoint(self.web[b]):
            return False
        self._union(a, b)
        return True

    def _union(self, a: Var, b: Var) -> None:
        large, small = self.web[a], self.web[b]
        if large is small:
            return
        if len(large) < len(small):
            large, small = small, large
        self.edges[id(large)] |= self.edges.pop(id(small))
        large += small
        for v in small:
            self.web[v] = large


def _compatible(web: list[Var]) -> bool:
    return len({legal(v.name) for v in web if not is_temporary(v.name)}) < 2


def _defined(block: Block) -> Iterator[Var]:
    """The variables of a block and of those inside it, in the order of the text."""
    yield from block.params
    for stmt in block.stmts:
        for region in regions(stmt):
            yield from _defined(region)
        yield from defs(stmt)
