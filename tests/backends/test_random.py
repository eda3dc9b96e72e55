"""Random programs: the written source computes what the interpreter does.

Loops and branches nest, and yields are permuted, repeated and taken from outside, which is what
leaving SSA can get wrong.
"""

from __future__ import annotations

import random

import pytest

from numbaflux.ir.build import Builder, const, index
from numbaflux.ir.nodes import BOOL, F64, I64, Array, Atom, Var
from tests.backends.support import check, function

FLOATS = ("add", "sub", "mul", "min", "max", "neg", "abs", "select")
NAMES = ("t", "t", "x", "x", "m")
VECTOR = Array(F64, 1)


class Generator:
    """Writes random statements over the floats and arrays that are in scope."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.b = Builder()
        self.budget = 40

    def program(self):
        params = [Var(n, F64) for n in ("x", "y", "z")] + [Var("a", VECTOR), Var("c", VECTOR)]
        params += [Var("m", I64), Var("n", I64), Var("flag", BOOL)]
        scope: list[Atom] = list(params)
        self.statements(scope, 3)
        floats = self.of(scope, F64)
        results = [self.random.choice(floats) for _ in range(3)]
        return function(self.b, params, *results)

    def of(self, scope, type):
        return [a for a in scope if a.type == type]

    def float(self, scope) -> Atom:
        if self.random.random() < 0.1:
            return const(self.random.choice((-1.5, 0.25, 2.0)))
        return self.random.choice(self.of(scope, F64)[-6:])

    def cond(self, scope) -> Atom:
        op = self.random.choice(("lt", "le", "gt", "ge", "eq", "ne"))
        cond = self.b.prim(op, self.float(scope), self.float(scope))
        match self.random.randrange(5):
            case 0:
                return self.b.prim("not", cond)
            case 1:
                return self.b.prim("and", cond, self.random.choice(self.of(scope, BOOL)))
            case 2:
                return self.random.choice(self.of(scope, BOOL))
        return cond

    def place(self) -> Atom:
        return index(self.random.randrange(3))

    def statements(self, scope: list[Atom], depth: int) -> None:
        for _ in range(self.random.randint(1, 5)):
            self.budget -= 1
            if self.budget < 0:
                return
            kinds = [self.scalar] * 4 + [self.load, self.store, self.whole, self.truth]
            if depth:
                kinds += [self.branch, self.loop, self.until]
            self.random.choice(kinds)(scope, depth)

    def scalar(self, scope, depth) -> None:
        op, name = self.random.choice(FLOATS), self.random.choice(NAMES)
        if op == "select":
            args = [self.cond(scope), self.float(scope), self.float(scope)]
        else:
            args = [self.float(scope) for _ in range(1 if op in ("neg", "abs") else 2)]
        scope.append(self.b.prim(op, *args, name=name))

    def whole(self, scope, depth) -> None:
        x, y = (self.random.choice(self.of(scope, I64)[-4:]) for _ in range(2))
        op = self.random.choice(("min", "max", "sub"))
        scope.append(self.b.prim(op, x, y, name=self.random.choice(NAMES)))

    def truth(self, scope, depth) -> None:
        scope.append(self.cond(scope))

    def load(self, scope, depth) -> None:
        array = self.random.choice(self.of(scope, VECTOR))
        scope.append(self.b.load(array, [self.place()], name=self.random.choice(NAMES)))

    def store(self, scope, depth) -> None:
        array = self.random.choice(self.of(scope, VECTOR))
        write = self.random.choice((self.b.store, self.b.accumulate))
        write(array, [self.place()], self.float(scope))

    def some(self, scope, types) -> list[Atom]:
        return [self.random.choice(self.of(scope, t)[-6:]) for t in types]

    def types(self):
        return [
            self.random.choice((F64, F64, F64, VECTOR, I64, BOOL))
            for _ in range(self.random.randint(0, 4))
        ]

    def branch(self, scope, depth) -> None:
        types, cond = self.types(), self.cond(scope)
        blocks = []
        for _ in range(2):
            with self.b.arm() as arm:
                inner = list(scope)
                if self.random.random() < 0.7:
                    self.statements(inner, depth - 1)
                arm.yields = self.some(inner, types)
            blocks.append(arm.block)
        names = [self.random.choice(NAMES) for _ in types]
        scope += self.b.if_(cond, *blocks, names=names)

    def loop(self, scope, depth) -> None:
        types = self.types()
        names = [self.random.choice(NAMES) for _ in types]
        count = self.random.choice([index(0), index(2), *self.of(scope, I64)[-3:]])
        if self.random.random() < 0.5:
            count = self.b.prim("max", count, index(1))
        count = self.b.prim("min", count, index(3), name=self.random.choice(NAMES))
        with self.b.for_(count, self.some(scope, types), names=names) as loop:
            inner = [*scope, *loop.carried]
            inner.append(self.b.cast(loop.k, F64))
            self.statements(inner, depth - 1)
            loop.yields = self.shuffled(inner, loop.carried, types)
        scope += loop.results

    def until(self, scope, depth) -> None:
        types = self.types()
        names = ["n", *(self.random.choice(NAMES) for _ in types)]
        with self.b.while_([index(0), *self.some(scope, types)], names=names) as loop:
            i, *carried = loop.params
            inner = [*scope, *carried]
            self.statements(inner, depth - 1)
            after = self.b.add(i, index(1), name=self.random.choice(NAMES))
            go = self.b.prim("lt", self.random.choice((i, after)), index(2))
            if self.random.random() < 0.5:
                go = self.b.prim("and", go, self.cond(inner))
            loop.yields = [go, after, *self.shuffled(inner, carried, types)]
        scope += loop.results[1:]

    def shuffled(self, scope, carried, types) -> list[Atom]:
        """Yields, often other carried values: swaps and rotations."""
        found = []
        for t in types:
            same = [c for c in carried if c.type == t]
            found.append(
                self.random.choice(same if self.random.random() < 0.5 else self.of(scope, t))
            )
        return found


def run(seed: int, compiled: bool) -> None:
    import numpy as np

    fn = Generator(seed).program()
    a, c = np.array([0.5, -1.0, 2.0]), np.array([1.25, 0.75, -0.5])
    with np.errstate(all="ignore"):
        check(fn, 0.3, -1.7, 2.2, a, c, 2, 3, True, compiled=compiled)


@pytest.mark.parametrize("block", range(10))
def test_written_source_computes_what_the_interpreter_does(block):
    for seed in range(100 * block, 100 * block + 100):
        run(seed, compiled=False)


@pytest.mark.parametrize("seed", range(6))
def test_compiled_source_computes_what_the_interpreter_does(seed):
    run(seed, compiled=True)
