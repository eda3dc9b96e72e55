"""Integers as affine forms, c + 2*n - k: sums of atoms that are no sums themselves."""

from __future__ import annotations

from collections.abc import Mapping

from numbaflux.ir.build import Builder, index
from numbaflux.ir.nodes import I64, Atom, Const, Prim, Stmt, Var

Form = Mapping[Atom, int]  # the coefficient of each atom, of the constant 1 too
ONE = index(1)


def form(a: Atom, definition: Mapping[Var, Stmt]) -> Form:
    """The form of an integer, looking through what defines it."""
    if isinstance(a, Const):
        return {ONE: int(a.value)} if a.value else {}
    match definition.get(a) if isinstance(a, Var) and a.type == I64 else None:
        case Prim(op="add", args=(x, y)):
            return plus(form(x, definition), form(y, definition))
        case Prim(op="sub", args=(x, y)):
            return plus(form(x, definition), form(y, definition), -1)
        case Prim(op="neg", args=(x,)):
            return plus({}, form(x, definition), -1)
        case (
            Prim(op="mul", args=(Const(value=int(c)), x))
            | Prim(op="mul", args=(x, Const(value=int(c))))
        ):
            return plus({}, form(x, definition), c)
        case _:
            return {a: 1}


def plus(f: Form, g: Form, times: int = 1) -> Form:
    """f + times * g"""
    total = dict(f)
    for a, c in g.items():
        total[a] = total.get(a, 0) + times * c
    return {a: c for a, c in total.items() if c}


def atom_of(b: Builder, f: Form, name: str = "t") -> Atom:
    """The value of a form: what is added, what is taken away, the constant."""
    total: Atom = index(0)
    for a, c in sorted(f.items(), key=lambda item: item[1] < 0):
        if a != ONE:
            part = a if abs(c) == 1 else b.mul(a, index(abs(c)))
            total = b.add(total, part, name) if c > 0 else b.sub(total, part, name)
    return b.add(total, index(f.get(ONE, 0)), name)
