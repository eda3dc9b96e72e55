"""Integers as sums of variables: n - k - 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import I64, Atom, Const, Prim, Var

Sum = Counter[Var | None]  # variable -> how often; None for the constant
ONE: Sum = Counter({None: 1})


class Sums:
    """Takes apart what additions, subtractions and multiplications by constants made."""

    def __init__(self, defined: Mapping[Var, Prim]) -> None:
        self.defined = defined

    def of(self, a: Atom) -> Sum:
        if isinstance(a, Const):
            return Counter({None: int(a.value)})
        stmt = self.defined.get(a) if isinstance(a, Var) else None
        if stmt is not None and _is_sum(stmt):
            x, y = stmt.args
            match stmt.op:
                case "add":
                    return plus(self.of(x), self.of(y))
                case "sub":
                    return minus(self.of(x), self.of(y))
                case _ if isinstance(y, Const):
                    return Counter({v: n * int(y.value) for v, n in self.of(x).items()})
                case _ if isinstance(x, Const):
                    return Counter({v: n * int(x.value) for v, n in self.of(y).items()})
                case _:
                    pass
        return Counter({a: 1}) if isinstance(a, Var) else Counter()


def plus(x: Sum, y: Sum) -> Sum:
    total = Counter(x)
    total.update(y)
    return total


def minus(x: Sum, y: Sum) -> Sum:
    total = Counter(x)
    total.subtract(y)
    return total


def written(b: Builder, total: Sum, name: str = "t") -> Atom:
    """The sum as an atom: what is added, what is taken away, the constant."""
    made: Atom = index(0)
    for v, n in sorted(total.items(), key=lambda item: item[1] < 0):
        if v is not None and n:
            part = v if abs(n) == 1 else b.mul(v, index(abs(n)))
            made = b.add(made, part, name) if n > 0 else b.sub(made, part, name)
    return b.add(made, index(total[None]), name)


def _is_sum(stmt: Prim) -> bool:
    return stmt.op in ("add", "sub", "mul") and all(a.type == I64 for a in stmt.args)
