"""Random expressions, and what every writer of random source shares.

note [Bounded]: what is stored has been squashed (sin, tanh, exp(-e**2), 1 / (1 + e**2)), so no
loop overflows, and no partial is infinite.
"""

import random
from dataclasses import dataclass, field

LENGTH, ROWS, COLUMNS = 6, 3, 4
ORDER = 4
"""The length of an array of indices."""


@dataclass(frozen=True)
class Scope:
    """The names a statement may use; arrays with their shapes, buffers are whole vectors."""

    floats: tuple[str, ...] = ()
    ints: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    """Tuples of two floats."""
    nested: tuple[str, ...] = ()
    """Tuples (float, (float, int))."""
    vectors: tuple[tuple[str, int], ...] = ()
    buffers: tuple[str, ...] = ()
    matrices: tuple[tuple[str, int, int], ...] = ()
    ragged: tuple[str, ...] = ()
    """Vectors of a length that only the program knows, at least 1."""
    orders: tuple[str, ...] = ()
    """Arrays of indices into a whole vector."""
    fixed: frozenset[str] = frozenset()
    """Names a statement must not assign: those that keep a loop finite."""
    depth: int = 0
    loops: int = 0

    def assignable(self) -> list[str]:
        return [name for name in self.floats if name not in self.fixed]


@dataclass
class Expressions:
    """Writes expressions; every choice comes from `pick`, so a seed is a program."""

    pick: random.Random
    budget: int
    single: bool = False
    """Whether the arguments are float32: then a buffer is not bound to what Numba makes double."""
    lines: list[str] = field(default_factory=list)
    helpers: tuple[str, ...] = ()
    spreads: bool = False
    """Whether there is a helper `spread` that writes into a vector."""
    splits: bool = False
    """Whether there is a helper `split` that returns a pair."""
    blends: bool = False
    """Whether there is a helper `blend` that returns one of its vectors, or a new one."""
    names: int = 0

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * (depth + 1) + text)

    def name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"

    def constant(self) -> str:
        return self.pick.choice(["0.5", "-0.7", "0.3", "1.1", "-0.2", "0.9"])

    def index(self, scope: Scope, length: int) -> str:
        if scope.orders and length == LENGTH and self.pick.random() < 0.2:
            return f"{self.pick.choice(scope.orders)}[{self.index(scope, ORDER)}]"
        if scope.ints and self.pick.random() < 0.75:
            i = self.pick.choice(scope.ints)
            forms = [f"{i} % {length}", f"({i} + 1) % {length}"]
            return self.pick.choice([*forms, f"-({i} % 2) - 1"] if length > 1 else forms)
        return str(self.pick.randrange(-length, length))

    def element(self, scope: Scope) -> str:
        if scope.matrices and (not scope.vectors or self.pick.random() < 0.25):
            matrix, rows, columns = self.pick.choice(scope.matrices)
            return f"{matrix}[{self.index(scope, rows)}, {self.index(scope, columns)}]"
        if scope.ragged and self.pick.random() < 0.2:
            name = self.pick.choice(scope.ragged)
            i = self.pick.choice(scope.ints)
            return f"{name}[{self.pick.choice([f'{i} % {name}.size', '-1', '0'])}]"
        name, length = self.pick.choice(scope.vectors)
        return f"{name}[{self.index(scope, length)}]"

    def leaf(self, scope: Scope) -> str:
        roll = self.pick.random()
        if roll < 0.15:
            return self.constant()
        if scope.vectors and roll < 0.5:
            return self.element(scope)
        if scope.ints and roll < 0.57:
            return f"0.1 * ({self.pick.choice(scope.ints)} % 7)"
        if scope.pairs and roll < 0.65:
            return f"{self.pick.choice(scope.pairs)}[{self.pick.randrange(2)}]"
        if scope.nested and roll < 0.72:
            at = self.pick.choice(["[0]", "[1][0]", "[1][1]"])
            return f"0.5 * {self.pick.choice(scope.nested)}{at}"
        return self.pick.choice(scope.floats) if scope.floats else self.constant()

    def expression(self, scope: Scope, depth: int = 0) -> str:
        """An expression of moderate size, smooth almost everywhere."""
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
            f"{left} / (1.0 + ({right}) ** 2)",
            f"math.sin({left})",
            f"math.tanh({left})",
            f"math.exp(-(({left}) ** 2))",
            f"math.sqrt(0.2 + ({left}) ** 2)",
            f"max({left}, {right})",
            f"({left} if {self.condition(scope, depth + 1)} else {right})",
        ]
        return self.pick.choice(forms)

    def squashed(self, scope: Scope) -> str:
        """An expression of magnitude at most about one; see note [Bounded]."""
        e = self.expression(scope)
        forms = [f"math.sin({e})", f"math.tanh({e})", f"math.exp(-(({e}) ** 2))"]
        return self.pick.choice([*forms, f"1.0 / (1.0 + ({e}) ** 2)"])

    def condition(self, scope: Scope, depth: int = 0) -> str:
        if depth < 2 and self.pick.random() < 0.25:
            left, right = self.condition(scope, depth + 2), self.condition(scope, depth + 2)
            return f"({left} {self.pick.choice(['and', 'or'])} not {right})"
        if scope.ints and self.pick.random() < 0.4:
            i = self.pick.choice(scope.ints)
            return self.pick.choice([f"{i} % 2 == 0", f"{i} > 1", f"{i} % 3 != 1"])
        order, middle = self.pick.choice(["<", ">", "<=", ">="]), self.variable(scope)
        if self.pick.random() < 0.1:
            return f"{self.constant()} < {middle} {order} {self.leaf(scope)}"
        return f"{middle} {order} {self.constant()}"

    def variable(self, scope: Scope) -> str:
        """A leaf that is not a constant."""
        if scope.vectors and self.pick.random() < 0.5:
            return self.element(scope)
        return self.pick.choice(scope.floats)

    def vector_of(self, scope: Scope, length: int) -> str:
        """An array expression of that length, of which there is a vector."""
        names = [name for name, n in scope.vectors if n == length]
        a, b = self.pick.choice(names), self.pick.choice(names)
        s = self.leaf(scope)
        forms = [f"np.sin({a} * {b})", f"np.tanh({a} + {s})", f"{a} / (1.0 + {b} * {b})"]
        forms += [f"np.exp(-{a} * {a}) * {b}", f"np.where({a} > {self.constant()}, {a}, {b})"]
        forms += [f"np.minimum({a}, {s})", f"np.tanh(np.cumsum({a}))", f"np.abs({a}) * {b}"]
        if length == LENGTH and scope.orders:
            forms += [f"{a}[{self.pick.choice(scope.orders)}][0] * {b}"]
        for matrix, rows, columns in scope.matrices:
            if columns == length:
                forms += [f"np.tanh(np.sum({matrix}, axis=0))", f"{matrix}[0] * {a}"]
            if rows == length:
                forms += [f"np.sin({matrix}.sum(axis=1)) + {a}"]
        return self.pick.choice(forms)

    def matrix_of(self, scope: Scope, rows: int, columns: int) -> str:
        """An array expression of that shape, of which there is a matrix."""
        a = self.pick.choice([n for n, r, c in scope.matrices if (r, c) == (rows, columns)])
        s = self.leaf(scope)
        forms = [f"np.sin({a} * {s})", f"np.tanh({a}) * 0.7", f"{a} / (1.0 + {a} * {a})"]
        forms += [f"np.where({a} > {self.constant()}, {a}, 0.2 * {s})"]
        forms += [
            f"np.sin({a}[:, 0][:, None] + {a}[0])",
            f"np.tanh({a} - {a}.sum(axis=1)[:, None])",
        ]
        forms += [f"np.tanh({v} * {a})" for v, n in scope.vectors if n == columns]
        forms += [f"np.sin({v}[:, None] + {a})" for v, n in scope.vectors if n == rows]
        return self.pick.choice(forms)

    def reduction(self, scope: Scope) -> str:
        """A number from a whole array."""
        name, length = self.pick.choice(scope.vectors)
        e = self.vector_of(scope, length)
        forms = [f"np.tanh(np.sum({e}))", f"np.mean({e})", f"np.max({name})", f"({e}).min()"]
        forms += [f"np.sin(np.sum({name}[{name} > {self.constant()}]))", f"np.prod({e})"]
        forms += [f"np.tanh(np.sum({m}))" for m, _, _ in scope.matrices[-1:]]
        forms += [f"np.mean({ragged})" for ragged in scope.ragged[-1:]]
        if name in scope.buffers and not self.single:
            forms += [f"np.sin(np.dot({name}, {e}))"]
        return self.pick.choice(forms)
