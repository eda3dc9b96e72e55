"""Random programs as source text, in the Python that Numba compiles and we differentiate.

`generate(seed, size)` writes a function `f(x, y, m, a, n)` of two vectors, a matrix, a float and an
int, which returns a float and may overwrite its arrays. A larger `size` gives more statements.

note [Scopes]: a name first set in a block is known in that block only; Numba would refuse a name
of two types, so only whole vectors are rebound, to whole vectors.
"""

import linecache
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit

from tests.fuzz.expressions import COLUMNS, LENGTH, ROWS, Scope
from tests.fuzz.nests import Nests

ENTRY = "f"
DEEPEST = 4


class Writer(Nests):
    """Writes statements and whole programs; each statement returns the scope after it."""

    def block(self, scope: Scope, most: int) -> None:
        wanted, written = self.pick.randint(1, most), len(self.lines)
        for _ in range(wanted):
            if self.budget <= 0:
                break
            self.budget -= 1
            scope = self.statement(scope)
        if len(self.lines) == written:
            self.line(scope.depth, "pass")

    def statement(self, scope: Scope) -> Scope:
        kinds: list[tuple[int, Callable[[Scope], Scope]]] = [
            (4, self.assign),
            (5, self.store),
            (2, self.new_float),
            (3, self.view),
            (4, self.whole_array),
            (2, self.allocate),
            (2, self.array_helper),
            (2, self.count),
            (1, self.new_tuple),
            (1, self.order),
            (1, self.ragged),
        ]
        if scope.depth < 2:
            kinds += [(2, self.nest), (1, self.history)]
        if len(scope.buffers) > len(scope.fixed.intersection(scope.buffers)) + 1:
            kinds += [(1, self.swap), (1, self.rebind), (1, self.choose)]
        if scope.pairs or scope.nested:
            kinds += [(3, self.next_tuple)]
        if scope.depth < DEEPEST:
            kinds += [(4, self.for_loop), (3, self.branch), (1, self.while_loop), (1, self.shrink)]
        if scope.loops:
            kinds += [(1, self.leave)]
        if scope.depth:
            kinds += [(1, self.early_return)]
        weights = [weight for weight, _ in kinds]
        return self.pick.choices([kind for _, kind in kinds], weights)[0](scope)

    # scalars and tuples

    def assign(self, scope: Scope) -> Scope:
        target = self.pick.choice(scope.assignable())
        e = self.squashed(scope)
        forms = [f"{target} = {e}", f"{target} = 0.5 * {target} + {e}", f"{target} -= 0.3 * {e}"]
        self.line(scope.depth, self.pick.choice([*forms, f"{target} *= {e}"]))
        return scope

    def new_float(self, scope: Scope) -> Scope:
        if self.splits and self.pick.random() < 0.4:
            first, second = self.name("s"), self.name("s")
            call = f"split({self.leaf(scope)}, {self.expression(scope)})"
            self.line(scope.depth, f"{first}, {second} = {call}")
            return replace(scope, floats=(*scope.floats, first, second))
        name = self.name("s")
        value = self.constant() if self.pick.random() < 0.4 else self.expression(scope)
        self.line(scope.depth, f"{name} = {value}")
        return replace(scope, floats=(*scope.floats, name))

    def count(self, scope: Scope) -> Scope:
        if "k" in scope.fixed or self.pick.random() < 0.3:
            return self.assign(scope)
        self.line(scope.depth, self.pick.choice(["k += 1", "k = k + n", "k = (k * 2 + 1) % 5"]))
        return scope

    def new_tuple(self, scope: Scope) -> Scope:
        name, first, second = self.name("p"), self.squashed(scope), self.squashed(scope)
        if self.pick.random() < 0.6:
            self.line(scope.depth, f"{name} = ({first}, {second})")
            return replace(scope, pairs=(*scope.pairs, name))
        self.line(scope.depth, f"{name} = ({first}, ({second}, k % 3))")
        return replace(scope, nested=(*scope.nested, name))

    def next_tuple(self, scope: Scope) -> Scope:
        """A tuple made of what it was."""
        name, e = self.pick.choice([*scope.pairs, *scope.nested]), self.squashed(scope)
        if name in scope.nested:
            forms = [f"({e}, ({name}[0], {name}[1][1] + 1))", f"({name}[1][0], (0.5, k % 2))"]
            forms += [f"({name}[0] * 0.7, {name}[1])"]
        else:
            forms = [f"({name}[1], {e})", f"({e}, 0.5 * {name}[0] + {name}[1])"]
            forms += [f"split({name}[0], {e})"] * self.splits
            other = self.pick.choice(scope.pairs)
            forms += [f"{name} if {self.condition(scope)} else {other}"]
        self.line(scope.depth, f"{name} = {self.pick.choice(forms)}")
        return scope

    # control

    def for_loop(self, scope: Scope) -> Scope:
        i = self.name("i")
        vector = self.pick.choice([*(name for name, _ in scope.vectors), *scope.ragged])
        certain = ["range(1, 4)", "range(4, 0, -1)", "range(0, 5, 2)"]
        ranges = [*certain, "range(n)", "range(n - 3)"]
        ranges += [f"range({outer} % 4)" for outer in scope.ints[-1:]]
        ranges += [f"range({ragged}.size)" for ragged in scope.ragged[-1:]]
        inner = replace(scope, depth=scope.depth + 1, loops=scope.loops + 1)
        form = self.pick.random()
        after = scope
        if form < 0.7:
            trips = self.pick.choice(ranges)
            self.line(scope.depth, f"for {i} in {trips}:")
            inner = replace(inner, ints=(*scope.ints, i))
            after = replace(scope, ints=inner.ints) if trips in certain else scope
        elif form < 0.8:
            e = self.name("e")
            self.line(scope.depth, f"for {i}, {e} in enumerate({vector}):")
            inner = replace(inner, ints=(*scope.ints, i), floats=(*scope.floats, e))
        elif form < 0.9:
            pair, other = (self.name("e"), self.name("e")), self.pick.choice(scope.vectors)[0]
            self.line(scope.depth, f"for {', '.join(pair)} in zip({vector}, {other}):")
            inner = replace(inner, floats=(*scope.floats, *pair))
        else:
            e = self.name("e")
            self.line(scope.depth, f"for {e} in {vector}:")
            inner = replace(inner, floats=(*scope.floats, e))
        self.block(inner, 4)
        self.orelse(scope)
        return after

    def orelse(self, scope: Scope) -> None:
        """What a loop that was not broken off does in the end."""
        if self.pick.random() < 0.2:
            self.line(scope.depth, "else:")
            self.block(replace(scope, depth=scope.depth + 1), 2)

    def while_loop(self, scope: Scope) -> Scope:
        w = self.name("w")
        self.line(scope.depth, f"{w} = 0")
        test = f"{w} < {self.pick.choice(['n', '4', '3'])}"
        if self.pick.random() < 0.6:
            test += f" and {self.condition(scope)}"
        self.line(scope.depth, f"while {test}:")
        self.line(scope.depth + 1, f"{w} += 1")
        inner = replace(scope, depth=scope.depth + 1, loops=scope.loops + 1)
        fixed = scope.fixed | {w}
        self.block(replace(inner, ints=(*scope.ints, w), fixed=fixed), 3)
        self.orelse(scope)
        return replace(scope, ints=(*scope.ints, w))

    def shrink(self, scope: Scope) -> Scope:
        """A loop whose trips are counted by a float alone."""
        g = self.name("g")
        self.line(scope.depth, f"{g} = {self.squashed(scope)}")
        self.line(scope.depth, f"while {g} * {g} > 0.04:")
        self.line(scope.depth + 1, f"{g} *= {self.pick.choice(['0.6', '-0.5', '0.3'])}")
        inner = replace(scope, depth=scope.depth + 1, loops=scope.loops + 1)
        floats = (*scope.floats, g)
        self.block(replace(inner, floats=floats, fixed=scope.fixed | {g}), 3)
        self.orelse(scope)
        return replace(scope, floats=floats)

    def branch(self, scope: Scope) -> Scope:
        inner = replace(scope, depth=scope.depth + 1)
        name = self.name("s") if self.pick.random() < 0.3 else None  # set in every arm

        def arm(most: int) -> None:
            self.block(inner, most)
            if name:
                self.line(inner.depth, f"{name} = {self.expression(inner)}")

        self.line(scope.depth, f"if {self.condition(scope)}:")
        arm(3)
        if self.pick.random() < 0.25:
            self.line(scope.depth, f"elif {self.condition(scope)}:")
            arm(2)
        if name or self.pick.random() < 0.5:
            self.line(scope.depth, "else:")
            arm(3)
        return replace(scope, floats=(*scope.floats, name)) if name else scope

    def leave(self, scope: Scope) -> Scope:
        self.line(scope.depth, f"if {self.condition(scope)}:")
        self.line(scope.depth + 1, self.pick.choice(["break", "continue"]))
        return scope

    def early_return(self, scope: Scope) -> Scope:
        self.line(scope.depth, f"if {self.condition(scope)} and {self.condition(scope)}:")
        self.line(scope.depth + 1, f"return {self.expression(scope)} + {self.element(scope)}")
        return scope

    # whole functions

    def scalar_helper(self, name: str) -> None:
        self.lines += ["@njit", f"def {name}(p, q):"]
        scope = Scope(floats=("p", "q"))
        if self.pick.random() < 0.5:
            self.line(0, f"if p > {self.constant()}:")
            self.line(1, f"return {self.squashed(scope)}")
        self.line(0, f"r = {self.expression(scope)}")
        scope = replace(scope, floats=("p", "q", "r"))
        self.line(0, f"return {self.squashed(scope)}")
        self.lines += ["", ""]

    def pair_helper(self) -> None:
        """Several returns, out of loops too."""
        scope = Scope(floats=("p", "q"), ints=("j",))
        self.lines += ["@njit", "def split(p, q):"]
        self.line(0, "for j in range(3):")
        self.line(1, f"if {self.condition(scope)}:")
        self.line(2, f"return {self.squashed(scope)}, 1.0 * q")
        self.line(1, f"q = 0.5 * q + {self.squashed(scope)}")
        self.line(0, f"return 1.0 * q, {self.squashed(replace(scope, ints=()))}")
        self.lines += ["", ""]
        self.splits = True

    def vector_helper(self) -> None:
        self.spreads = True
        scope = Scope(floats=("p",), ints=("at",), vectors=(("v", 2),))
        self.lines += ["@njit", "def spread(v, at, p):"]
        self.line(0, f"v[at] {self.pick.choice(['=', '+='])} {self.squashed(scope)}")
        self.line(0, "for j in range(v.size):")
        self.line(1, f"v[j] = 0.8 * v[j] + 0.1 * {self.squashed(scope)}")
        self.lines += ["", ""]

    def blend_helper(self) -> None:
        scope = Scope(floats=("p",), vectors=(("u", 2), ("v", 2)))
        self.lines += ["@njit", "def blend(u, v, p):"]
        self.line(0, f"if {self.condition(scope)}:")
        self.line(1, "return u")
        self.line(0, "for j in range(u.size):")
        self.line(1, f"if u[j] > {self.constant()}:")
        self.line(2, "return v")
        self.line(1, f"v[j] = 0.9 * v[j] + 0.1 * {self.squashed(scope)}")
        self.line(0, self.pick.choice(["return u.copy()", "return np.sin(u * v)"]))
        self.lines += ["", ""]
        self.blends = True

    def program(self) -> str:
        for number in range(self.pick.randint(0, 2)):
            self.scalar_helper(f"h{number}")
            self.helpers = (*self.helpers, f"h{number}")
        if self.pick.random() < 0.3:
            self.vector_helper()
        if self.pick.random() < 0.3:
            self.pair_helper()
        if self.pick.random() < 0.2:
            self.blend_helper()
        self.lines.append(f"def {ENTRY}(x, y, m, a, n):")
        first = self.constant()
        for text in ("k = 0", f"s = {first}", "t = 1.0 * a", "z = np.zeros_like(y)"):
            self.line(0, text)
        vectors = tuple((name, LENGTH) for name in "xyz")
        matrices = (("m", ROWS, COLUMNS),)
        scope = Scope(("a", "s", "t"), ("n", "k"), (), (), vectors, ("x", "y", "z"), matrices)
        scope = replace(scope, fixed=frozenset("a"))
        while self.budget > 0:
            self.budget -= 1
            scope = self.statement(scope)
        self.line(0, "for j in range(x.size):")
        self.line(1, "s += 0.3 * math.sin(x[j] + 0.5 * y[j]) + z[j] * x[j - 1]")
        self.line(0, f"return s * t + m[1, 2] * {self.expression(scope)}")
        return "\n".join(self.lines) + "\n"


def generate(seed: int, size: int, single: bool = False) -> str:
    """The source of a random program of about `size` statements, `single`: of float32 arguments."""
    return Writer(random.Random(f"{seed}:{size}"), size, single).program()


def build(source: str) -> Callable[..., Any]:
    """The function that the source defines; its lines show in tracebacks."""
    filename = f"<fuzz {abs(hash(source)):x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"math": math, "np": np, "njit": njit}
    exec(compile(source, filename, "exec"), namespace)
    return namespace[ENTRY]


def arguments(seed: int, dtype: type = np.float64) -> tuple[Any, ...]:
    """(x, y, m, a, n) of a moderate size; the matrix of one layout or another."""
    values = np.random.default_rng(seed)
    x, y = values.uniform(-1.0, 1.0, (2, LENGTH)).astype(dtype)
    wide = values.uniform(-1.0, 1.0, (2 * ROWS, 2 * COLUMNS)).astype(dtype)
    m = [wide[:ROWS, :COLUMNS].copy(), wide[:ROWS, :COLUMNS].copy("F"), wide[::2, ::2]]
    return x.copy(), y.copy(), m[seed % 3], dtype(0.4173), 4
