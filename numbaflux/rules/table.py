"""How a rule is written: the partials of a primitive as ordinary expressions.

    rule("sin", lambda x, r: cos(x))
    rule("mul", lambda x, y, r: y, lambda x, y, r: x)

One partial an argument, each a function of the arguments and the result `r`, written on `Sym`s.
A Sym that a partial does not touch is not *needed*: in reverse mode only what is touched is kept.
A partial that is a comparison chooses: the cotangent passes where it is true, and nothing passes
where it is false, so a nan or inf on the other side stays there.

note [Guard]  A partial may be infinite where the function is finite (sqrt at 0).  `guard` makes
0 * inf zero: a cotangent of zero says that nobody depends on this value.  It is a primitive of
its own (`gmul`), not a select, since a select would be wrong one derivative later.

note [Beside]  `beside` is a function of the arguments that costs little where the primitive is
computed and much anywhere else.  The partials have it as their last argument, after `r`, and the
reverse sweep has it from the forward sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numbaflux.ir.build import Builder, const
from numbaflux.ir.nodes import BOOL, Atom, Const, Scalar, Type


class Sym:
    """An IR value in a partial; `get` fetches the atom when it is first used."""

    __slots__ = ("_get", "b")

    def __init__(self, b: Builder, get: Atom | Callable[[], Atom]) -> None:
        self.b, self._get = b, get

    @property
    def atom(self) -> Atom:
        if callable(self._get):
            self._get = self._get()
        return self._get

    def _op(self, op: str, *args: Sym | float) -> Sym:
        atoms = [_atom(a, self.atom.type) for a in args]
        return Sym(self.b, self.b.prim(op, *atoms))

    def __add__(self, o: Sym | float) -> Sym:
        return self._op("add", self, o)

    def __radd__(self, o: Sym | float) -> Sym:
        return self._op("add", o, self)

    def __sub__(self, o: Sym | float) -> Sym:
        return self._op("sub", self, o)

    def __rsub__(self, o: Sym | float) -> Sym:
        return self._op("sub", o, self)

    def __mul__(self, o: Sym | float) -> Sym:
        return self._op("mul", self, o)

    def __rmul__(self, o: Sym | float) -> Sym:
        return self._op("mul", o, self)

    def __truediv__(self, o: Sym | float) -> Sym:
        return self._op("div", self, o)

    def __rtruediv__(self, o: Sym | float) -> Sym:
        return self._op("div", o, self)

    def __neg__(self) -> Sym:
        return self._op("neg", self)

    def __gt__(self, o: Sym | float) -> Sym:
        return self._op("gt", self, o)

    def __lt__(self, o: Sym | float) -> Sym:
        return self._op("lt", self, o)

    def __ge__(self, o: Sym | float) -> Sym:
        return self._op("ge", self, o)

    def __le__(self, o: Sym | float) -> Sym:
        return self._op("le", self, o)

    def equals(self, o: Sym | float) -> Sym:
        return self._op("eq", self, o)

    def __invert__(self) -> Sym:
        return self._op("not", self)

    def __or__(self, o: Sym) -> Sym:
        return self._op("or", self, o)

    def __and__(self, o: Sym) -> Sym:
        return self._op("and", self, o)


Partial = Callable[..., "Sym | float"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The partials of a primitive, None for an argument without one."""

    partials: tuple[Partial | None, ...]
    guard: bool = False
    beside: Callable[..., Sym] | None = None


RULES: dict[str, Rule] = {}


def rule(
    op: str,
    *partials: Partial | None,
    guard: bool = False,
    beside: Callable[..., Sym] | None = None,
) -> None:
    """Set the partials of a primitive.

    `guard`: they may be infinite. note [Guard]  `beside`: what they are given. note [Beside]
    """
    assert op not in RULES, op
    RULES[op] = Rule(partials, guard, beside)


def zero(*ops: str) -> None:
    """Primitives whose derivative is zero wherever it exists."""
    for op in ops:
        rule(op)


def has_partial(op: str, i: int) -> bool:
    """Whether the i-th argument of a primitive ever passes a derivative on."""
    partials = RULES[op].partials
    return i < len(partials) and partials[i] is not None


def companion(op: str, args: list[Sym]) -> Sym | None:
    """What is computed beside a primitive, if anything. note [Beside]"""
    beside = RULES[op].beside
    return None if beside is None else beside(*args)


def partial_of(
    op: str, i: int, args: list[Sym], result: Sym, type: Type, beside: Sym | None = None
) -> Atom:
    """∂op/∂args[i], a number of that type or a truth. `beside`: the companion, if it is there."""
    partial = RULES[op].partials[i]
    assert partial is not None, (op, i)
    beside = beside or companion(op, args)
    return _atom(partial(*args, result, *([beside] if beside else [])), type)


def contribution(
    b: Builder, op: str, i: int, d: Atom, args: list[Sym], result: Sym, beside: Sym | None = None
) -> Atom:
    """(∂op/∂args[i]) * d, which serves both modes.

    Takes `d` in the type of the result, gives the contribution in that type.
    """
    rule = RULES[op]
    atom = partial_of(op, i, args, result, d.type, beside)
    if atom.type == BOOL:
        return b.select(atom, d, const(0, d.type))
    if isinstance(atom, Const) and atom.value in (1, -1):
        return d if atom.value == 1 else b.neg(d)
    guarded = rule.guard and not (isinstance(d, Const) and d.value != 0)
    return b.prim("gmul", d, atom) if guarded else b.mul(d, atom)


def call(op: str) -> Callable[..., Sym]:
    """A primitive as a function on Syms, for use in partials."""

    def apply(*args: Sym | float) -> Sym:
        like = next(a for a in args if isinstance(a, Sym))
        return like._op(op, *args)

    return apply


def cast(x: Sym, like: Sym) -> Sym:
    """x in the type of `like`."""
    return Sym(x.b, x.b.cast(x.atom, like.atom.type))


def where(cond: Sym, x: Sym | float, y: Sym | float, like: Sym) -> Sym:
    """select(cond, x, y) in the type of `like`."""
    type = like.atom.type
    return Sym(cond.b, cond.b.select(cond.atom, _atom(x, type), _atom(y, type)))


def _atom(x: Sym | float, type: Type) -> Atom:
    if isinstance(x, Sym):
        return x.atom
    assert isinstance(type, Scalar)
    return const(x, type)
