"""Random control flow as source text: what the structurer has to bring into shape.

The programs compute little, but bounded, numbers; constants among the conditions make Numba prune
branches.  Every `while` spends fuel, so that all of them end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

FLOATS, INTS = ("a", "b", "c"), ("n", "m")


@dataclass
class Writer:
    pick: random.Random
    deepest: int
    lines: list[str] = field(default_factory=list)
    loops: int = 0
    names: int = 0

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def name(self, stem: str) -> str:
        self.names += 1
        return f"{stem}{self.names}"

    def number(self) -> str:
        choices = [*FLOATS, "x[n % 3]", "x[m % 3]", "1.0", "-0.25", "n", "0.5 * m"]
        return self.pick.choice(choices)

    def value(self) -> str:
        p, q = self.number(), self.number()
        return self.pick.choice(
            [
                f"0.5 * {p} + {q}",
                f"0.5 * {p} - {q}",
                f"({p} if {self.condition()} else 0.5 * {q})",
                f"0.75 * {p}",
            ]
        )

    def condition(self) -> str:
        ops = ["<", ">", "<=", ">="]
        p, q = self.number(), self.number()
        simple = f"{p} {self.pick.choice(ops)} {q}"
        roll = self.pick.random()
        if roll < 0.12:
            return f"{simple} {self.pick.choice(['and', 'or'])} {self.condition()}"
        if roll < 0.2:
            return f"{self.pick.choice(FLOATS)} < {self.pick.choice(['1.0', '2.0', '0.5'])}"
        if roll < 0.26:
            return f"{p} < {q} < {self.number()}"
        if roll < 0.32:
            return f"not {simple}"
        return simple

    def block(self, depth: int) -> None:
        for _ in range(self.pick.randint(1, 3)):
            self.statement(depth)

    def statement(self, depth: int) -> None:
        deep = depth > self.deepest
        kinds = ["set", "set", "int", "swap", "store"]
        kinds += ["leave"] * 2 if self.loops else ["return"]
        kinds += [] if deep else ["if"] * 4 + ["for"] * 3 + ["while"] * 3
        getattr(self, "write_" + self.pick.choice(kinds))(depth)

    def write_set(self, depth: int) -> None:
        self.line(depth, f"{self.pick.choice(FLOATS)} = {self.value()}")

    def write_int(self, depth: int) -> None:
        form = self.pick.choice(["{} = (n + 1) % 4", "{} = (n + 2 * m) % 5", "{} = 2", "{} = 0"])
        self.line(depth, form.format(self.pick.choice(INTS)))

    def write_swap(self, depth: int) -> None:
        p, q = self.pick.sample(FLOATS, 2)
        self.line(depth, f"{p}, {q} = {q}, {p}")

    def write_store(self, depth: int) -> None:
        self.line(depth, f"x[{self.pick.choice(INTS)} % 3] = {self.value()}")

    def write_return(self, depth: int) -> None:
        self.line(depth, f"if {self.condition()}:")
        self.line(depth + 1, f"return {self.number()} + 0.0")

    def write_leave(self, depth: int) -> None:
        how = self.pick.choice(["break", "continue", "break", "continue", "return a - 0.5 * b"])
        if self.pick.random() < 0.85:
            self.line(depth, f"if {self.condition()}:")
            depth += 1
        self.line(depth, how)

    def write_if(self, depth: int) -> None:
        self.line(depth, f"if {self.condition()}:")
        self.block(depth + 1)
        if self.pick.random() < 0.25:
            self.line(depth, f"elif {self.condition()}:")
            self.block(depth + 1)
        if self.pick.random() < 0.5:
            self.line(depth, "else:")
            self.block(depth + 1)

    def write_for(self, depth: int) -> None:
        i = self.name("i")
        over = self.pick.choice(["range(n)", "range(3)", "range(m, 4)", "x", "range(4, n, -1)"])
        self.line(depth, f"for {i} in {over}:")
        self.loop(depth, f"a = 0.5 * a + {i}")

    def write_while(self, depth: int) -> None:
        spend = "fuel -= 1"
        match self.pick.randrange(3):
            case 0:
                self.line(depth, f"while fuel > 0 and ({self.condition()}):")
                self.loop(depth, spend)
            case 1:
                self.line(depth, f"while {self.condition()}:")
                leave = self.pick.choice(["break", "return b"])
                self.loop(depth, spend, "if fuel < 0:", f"    {leave}")
            case _:
                self.line(depth, "while True:")
                self.loop(depth, spend, f"if fuel < 0 or {self.condition()}:", "    break")

    def loop(self, depth: int, *first: str) -> None:
        self.loops += 1
        for text in first:
            self.line(depth + 1, text)
        self.block(depth + 1)
        self.loops -= 1
        if self.pick.random() < 0.25:
            self.line(depth, "else:")
            self.block(depth + 1)


def generate(seed: int, deepest: int = 3) -> str:
    """The source of a function f(x) of three floats, which it may overwrite."""
    w = Writer(random.Random(seed), deepest)
    w.line(0, "def f(x):")
    w.line(1, "a = 1.0; b = x[1]; c = -0.25; n = int(x[0]); m = 2; fuel = 25")
    for _ in range(w.pick.randint(deepest, deepest + 2)):
        w.statement(1)
    w.line(1, "return a + 2.0 * b + 4.0 * c + 8.0 * n")
    return "\n".join(w.lines) + "\n"
