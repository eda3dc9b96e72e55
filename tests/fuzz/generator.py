"""Random programs as source text, in the Python that Numba compiles and we differentiate.

`generate(seed, size)` writes a function `f(x, y, m, a, n)` of two vectors, a matrix, a float and an
int, which returns a float and may overwrite its arrays. A larger `size` gives more statements.

note [Bounded]: what is stored has been squashed (sin, tanh, exp(-e*e), e / (1 + e*e)), so no loop
overflows, and no partial is infinite.
note [Scopes]: a name first set in a block is known in that block only; Numba would refuse a name
of two types, so arrays are never rebound but by a swap of two whole buffers.
"""

import linecache
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numba import njit

LENGTH, ROWS, COLUMNS = 6, 3, 4
ENTRY = "f"
DEEPEST = 4


@dataclass(frozen=True)
class Scope:
    """The names a statement may use; vectors with their lengths, buffers are whole vectors."""

    floats: tuple[str, ...] = ()
    ints: tuple[str, ...] = ()
    vectors: tuple[tuple[str, int], ...] = ()
    buffers: tuple[str, ...] = ()
    matrices: tuple[str, ...] = ()
    fixed: frozenset[str] = frozenset()
    """Names a statement must not assign: counters of enclosing loops."""
    depth: int = 0
    loops: int = 0

    def assignable(self) -> list[str]:
        return [name for name in self.floats if name not in self.fixed]


@dataclass
class Writer:
    """Writes statements; every choice comes from `pick`, so a seed is a program."""

    pick: random.Random
    budget: int
    lines: list[str] = field(default_factory=list)
    helpers: tuple[str, ...] = ()
    spreads: bool = False
    """Whether there is a helper `spread` that writes into a vector."""
    names: int = 0

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * (depth + 1) + text)

    def name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"

    # expressions

    def constant(self) -> str:
        return self.pick.choice(["0.5", "-0.7", "0.3", "1.1", "-0.2", "0.9"])

    def index(self, scope: Scope, length: int) -> str:
        if scope.ints and self.pick.random() < 0.75:
            i = self.pick.choice(scope.ints)
            return self.pick.choice([f"{i} % {length}", f"({i} + 1) % {length}", f"-({i} % 2) - 1"])
        return str(self.pick.randrange(-length, length))

    def element(self, scope: Scope) -> str:
        if scope.matrices and (not scope.vectors or self.pick.random() < 0.2):
            matrix = self.pick.choice(scope.matrices)
            return f"{matrix}[{self.index(scope, ROWS)}, {self.index(scope, COLUMNS)}]"
        name, length = self.pick.choice(scope.vectors)
        return f"{name}[{self.index(scope, length)}]"

    def leaf(self, scope: Scope) -> str:
        roll = self.pick.random()
        if roll < 0.15:
            return self.constant()
        if scope.vectors and roll < 0.55:
            return self.element(scope)
        if scope.ints and roll < 0.62:
            return f"0.1 * ({self.pick.choice(scope.ints)} % 7)"
        return self.pick.choice(scope.floats) if scope.floats else self.constant()

    def expression(self, scope: Scope, depth: int = 0) -> str:
        """A smooth expression of moderate size."""
        if depth > 2 or self.pick.random() < 0.25:
            return self.leaf(scope)
        left = self.expression(scope, depth + 1)
        right = self.expression(scope, depth + 1)
        if self.helpers and self.pick.random() < 0.15:
            return f"{self.pick.choice(self.helpers)}({left}, {right})"
        forms = [
            f"({left} + {right})",
            f"({left} - {right})",
            f"0.6 * {left} * {right}",
            f"({left}) / (1.0 + ({right}) * ({right}))",
            f"math.sin({left})",
            f"math.tanh({left})",
            f"math.exp(-({left}) * ({left}))",
            f"({left} if {self.condition(scope, depth + 1)} else {right})",
        ]
        return self.pick.choice(forms)

    def squashed(self, scope: Scope) -> str:
        """An expression of magnitude at most about one; see note [Bounded]."""
        e = self.expression(scope)
        forms = [f"math.sin({e})", f"math.tanh({e})", f"math.exp(-({e}) * ({e}))"]
        return self.pick.choice([*forms, f"({e}) / (1.0 + ({e}) * ({e}))"])

    def condition(self, scope: Scope, depth: int = 0) -> str:
        if depth < 2 and self.pick.random() < 0.25:
            left, right = self.condition(scope, depth + 2), self.condition(scope, depth + 2)
            return f"({left} {self.pick.choice(['and', 'or'])} not {right})"
        if scope.ints and self.pick.random() < 0.4:
            i = self.pick.choice(scope.ints)
            return self.pick.choice([f"{i} % 2 == 0", f"{i} > 1", f"{i} % 3 != 1"])
        order = self.pick.choice(["<", ">", "<=", ">="])
        return f"{self.leaf(scope)} {order} {self.constant()}"

    def array_expression(self, scope: Scope, length: int) -> str:
        """An expression of that length."""
        names = [name for name, n in scope.vectors if n == length]
        a, b = self.pick.choice(names), self.pick.choice(names)
        s = self.leaf(scope)
        forms = [f"np.sin({a} * {b})", f"np.tanh({a} + {s})", f"{a} / (1.0 + {b} * {b})"]
        forms += [f"np.exp(-{a} * {a}) * {b}", f"np.where({a} > {self.constant()}, {a}, {b})"]
        return self.pick.choice(forms)

    # statements: each writes itself and returns the scope after it

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
            (5, self.assign),
            (5, self.store),
            (2, self.new_float),
            (2, self.view),
            (2, self.whole_array),
            (1, self.allocate),
            (1, self.swap),
            (1, self.array_helper),
            (2, self.count),
        ]
        if scope.depth < DEEPEST:
            kinds += [(4, self.for_loop), (3, self.branch), (2, self.while_loop)]
        if scope.loops:
            kinds += [(1, self.leave)]
        if scope.depth:
            kinds += [(1, self.early_return)]
        weights = [weight for weight, _ in kinds]
        return self.pick.choices([kind for _, kind in kinds], weights)[0](scope)

    def assign(self, scope: Scope) -> Scope:
        target = self.pick.choice(scope.assignable())
        e = self.squashed(scope)
        forms = [f"{target} = {e}", f"{target} = 0.5 * {target} + {e}", f"{target} -= 0.3 * {e}"]
        self.line(scope.depth, self.pick.choice([*forms, f"{target} *= {e}"]))
        return scope

    def store(self, scope: Scope) -> Scope:
        operator = self.pick.choice(["=", "+=", "+=", "-=", "*="])
        self.line(scope.depth, f"{self.element(scope)} {operator} {self.squashed(scope)}")
        return scope

    def new_float(self, scope: Scope) -> Scope:
        name = self.name("s")
        value = self.constant() if self.pick.random() < 0.4 else self.expression(scope)
        self.line(scope.depth, f"{name} = {value}")
        return replace(scope, floats=(*scope.floats, name))

    def count(self, scope: Scope) -> Scope:
        if "k" in scope.fixed or self.pick.random() < 0.3:
            return self.assign(scope)
        self.line(scope.depth, self.pick.choice(["k += 1", "k = k + n", "k = (k * 2 + 1) % 5"]))
        return scope

    def view(self, scope: Scope) -> Scope:
        name = self.name("v")
        if scope.matrices and self.pick.random() < 0.5:
            matrix = self.pick.choice(scope.matrices)
            text, length = self.pick.choice(
                [
                    (f"{matrix}[{self.index(scope, ROWS)}]", COLUMNS),
                    (f"{matrix}[:, {self.index(scope, COLUMNS)}]", ROWS),
                    (f"{matrix}.T[{self.index(scope, COLUMNS)}]", ROWS),
                ]
            )
        else:
            base, whole = self.pick.choice(scope.vectors)
            text, length = self.pick.choice(
                [
                    (f"{base}[1:]", whole - 1),
                    (f"{base}[::2]", (whole + 1) // 2),
                    (f"{base}[::-1]", whole),
                ]
            )
            if length < 2:
                text, length = base, whole
        self.line(scope.depth, f"{name} = {text}")
        return replace(scope, vectors=(*scope.vectors, (name, length)))

    def whole_array(self, scope: Scope) -> Scope:
        name, length = self.pick.choice(scope.vectors)
        e = self.array_expression(scope, length)
        target = self.pick.choice(scope.assignable())
        forms = [f"{name}[:] = {e}", f"{name}[:] = {name} * 0.5 + {e}"]
        forms += [f"{target} = np.tanh(np.sum({e}))", f"{name}[1:] = {name}[:-1] * 0.9"]
        self.line(scope.depth, self.pick.choice(forms))
        return scope

    def allocate(self, scope: Scope) -> Scope:
        name, (source, length) = self.name("b"), self.pick.choice(scope.vectors)
        forms = [f"np.zeros({length})", f"{source}.copy()", f"np.ones({length})"]
        forms += [f"np.full({length}, {self.leaf(scope)})", self.array_expression(scope, length)]
        self.line(scope.depth, f"{name} = {self.pick.choice(forms)}")
        return replace(scope, vectors=(*scope.vectors, (name, length)))

    def swap(self, scope: Scope) -> Scope:
        a, b = self.pick.sample(scope.buffers, 2)
        self.line(scope.depth, f"{a}, {b} = {b}, {a}")
        return scope

    def array_helper(self, scope: Scope) -> Scope:
        if not self.spreads:
            return self.store(scope)
        name, length = self.pick.choice(scope.vectors)
        index = self.index(scope, length)
        self.line(scope.depth, f"spread({name}, ({index}) % {length}, {self.leaf(scope)})")
        return scope

    def for_loop(self, scope: Scope) -> Scope:
        i = self.name("i")
        vector = self.pick.choice(scope.vectors)[0]
        ranges = ["range(n)", "range(1, 4)", "range(4, 0, -1)", "range(0, 5, 2)", "range(n - 3)"]
        ranges += [f"range({outer} % 4)" for outer in scope.ints[-1:]]
        inner = replace(scope, depth=scope.depth + 1, loops=scope.loops + 1)
        form = self.pick.random()
        if form < 0.75:
            self.line(scope.depth, f"for {i} in {self.pick.choice(ranges)}:")
            inner = replace(inner, ints=(*scope.ints, i))
        elif form < 0.9:
            e = self.name("e")
            self.line(scope.depth, f"for {i}, {e} in enumerate({vector}):")
            inner = replace(inner, ints=(*scope.ints, i), floats=(*scope.floats, e))
        else:
            e = self.name("e")
            self.line(scope.depth, f"for {e} in {vector}:")
            inner = replace(inner, floats=(*scope.floats, e))
        self.block(inner, 4)
        if self.pick.random() < 0.15:
            self.line(scope.depth, "else:")
            self.block(replace(scope, depth=scope.depth + 1), 2)
        return scope

    def while_loop(self, scope: Scope) -> Scope:
        w = self.name("w")
        self.line(scope.depth, f"{w} = 0")
        test = f"{w} < {self.pick.choice(['n', '4', '3'])}"
        if self.pick.random() < 0.6:
            test += f" and {self.condition(scope)}"
        self.line(scope.depth, f"while {test}:")
        self.line(scope.depth + 1, f"{w} += 1")
        inner = replace(scope, depth=scope.depth + 1, loops=scope.loops + 1)
        self.block(replace(inner, ints=(*scope.ints, w)), 3)
        return replace(scope, ints=(*scope.ints, w))

    def branch(self, scope: Scope) -> Scope:
        inner = replace(scope, depth=scope.depth + 1)
        self.line(scope.depth, f"if {self.condition(scope)}:")
        self.block(inner, 3)
        if self.pick.random() < 0.25:
            self.line(scope.depth, f"elif {self.condition(scope)}:")
            self.block(inner, 2)
        if self.pick.random() < 0.5:
            self.line(scope.depth, "else:")
            self.block(inner, 3)
        return scope

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

    def vector_helper(self) -> None:
        self.spreads = True
        scope = Scope(floats=("p",), ints=("at",), vectors=(("v", 2),))
        self.lines += ["@njit", "def spread(v, at, p):"]
        self.line(0, f"v[at] {self.pick.choice(['=', '+='])} {self.squashed(scope)}")
        self.line(0, "for j in range(v.size):")
        self.line(1, f"v[j] = 0.8 * v[j] + 0.1 * {self.squashed(scope)}")
        self.lines += ["", ""]

    def program(self) -> str:
        for number in range(self.pick.randint(0, 2)):
            self.scalar_helper(f"h{number}")
            self.helpers = (*self.helpers, f"h{number}")
        if self.pick.random() < 0.3:
            self.vector_helper()
        self.lines.append(f"def {ENTRY}(x, y, m, a, n):")
        first = self.constant()
        for text in ("k = 0", f"s = {first}", "t = a", "z = np.zeros(x.size)"):
            self.line(0, text)
        vectors = tuple((name, LENGTH) for name in "xyz")
        scope = Scope(("a", "s", "t"), ("n", "k"), vectors, ("x", "y", "z"), ("m",))
        while self.budget > 0:
            self.budget -= 1
            scope = self.statement(scope)
        self.line(0, "for j in range(x.size):")
        self.line(1, "s += 0.3 * math.sin(x[j] + 0.5 * y[j]) + z[j] * x[j - 1]")
        self.line(0, f"return s * t + m[1, 2] * {self.expression(scope)}")
        return "\n".join(self.lines) + "\n"


def generate(seed: int, size: int) -> str:
    """The source of a random program of about `size` statements."""
    return Writer(random.Random(f"{seed}:{size}"), size).program()


def build(source: str) -> Callable[..., Any]:
    """The function that the source defines; its lines show in tracebacks."""
    filename = f"<fuzz {abs(hash(source)):x}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"math": math, "np": np, "njit": njit}
    exec(compile(source, filename, "exec"), namespace)
    return namespace[ENTRY]


def arguments(source: str, seed: int) -> tuple[Any, ...]:
    """(x, y, m, a, n) of a moderate size."""
    values = np.random.default_rng(seed)
    x, y = values.uniform(-1.0, 1.0, (2, LENGTH))
    return x.copy(), y.copy(), values.uniform(-1.0, 1.0, (ROWS, COLUMNS)), 0.4, 4
