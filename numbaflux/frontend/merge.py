"""Where two paths meet: the results of an If.

note [Undefined]  A name that one arm leaves undefined takes the other arm's value; the arm that
lacks it yields a zero or an empty array, which nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from numbaflux.frontend import convert
from numbaflux.frontend.values import NONE, Maybe, Unmerged, Value, leaves, rebuild, same_shape
from numbaflux.ir.build import Arm, Builder
from numbaflux.ir.nodes import BOOL, Atom, Const, Loc, Var
from numbaflux.ir.walk import defs

Env = dict[str, Value]


@dataclass
class Side:
    """One arm: its statements so far, its names' values, the variables it defines."""

    arm: Arm
    env: Env
    inside: set[Var] = field(init=False)

    def __post_init__(self) -> None:
        self.inside = {v for stmt in self.arm.block.stmts for v in defs(stmt)}

    def outlives(self, v: Value) -> bool:
        """Whether a value is also defined outside of this arm."""
        return not any(a in self.inside for a in leaves(v) if isinstance(a, Var))


def merge(
    b: Builder, cond: Atom, yes: Side, no: Side, names: list[str], wish: Callable[[str], str]
) -> Env:
    """Write `if cond: yes, else: no`; the values of the names after it."""
    chosen: list[tuple[str, Value, int]] = []  # name, a value of its kind, how many leaves
    pairs: list[tuple[Atom, Atom]] = []
    wishes: list[str] = []
    extra = Arms(b)
    merged: Env = {}
    for name in names:
        v, w = yes.env.get(name), no.env.get(name)
        if v is None or w is None:
            present, absent = (yes, 1) if w is None else (no, 0)
            value = v if w is None else w
            if value is None or present.outlives(value):
                if value is not None:
                    merged[name] = value
                continue
            other = extra.like(absent, value)
            if other is None:
                merged[name] = unmerged(name, value, None, b.loc, wish)
                continue
            v, w = (value, other) if absent else (other, value)
        v, w = extra.optional(v, w)
        if _equal(v, w):
            merged[name] = v
        elif not same_shape(v, w):
            merged[name] = unmerged(name, v, w, b.loc, wish)
        else:
            both = [extra.alike(p) for p in zip(leaves(v), leaves(w))]
            pairs += both
            wishes += [wish(name)] * len(both)
            chosen.append((name, v, len(both)))
    results = iter(_write(b, cond, yes, no, pairs, wishes, extra))
    merged |= {name: rebuild(v, results) for name, v, _ in chosen}
    return merged


class Arms:
    """What the merge itself adds at the end of the two arms."""

    def __init__(self, b: Builder) -> None:
        self.b = b
        self.stmts = ([], [])

    def like(self, arm: int, v: Value) -> Value | None:
        """A value of the same kind that nobody reads, written at the end of an arm."""
        with self.b.arm() as written:
            atoms = [convert.empty(self.b, a.type) for a in leaves(v)]
        found = [a for a in atoms if a is not None]
        if len(found) < len(atoms) or not same_shape(v, v):
            return None
        self.stmts[arm].extend(written.block.stmts)
        return rebuild(v, iter(found))

    def optional(self, v: Value, w: Value) -> tuple[Value, Value]:
        """The two as values that may be None, if one of them may and the other is not None."""
        if not isinstance(v, Maybe) and not isinstance(w, Maybe) and (v == NONE) == (w == NONE):
            return v, w
        one, other = self._maybe(0, v, w), self._maybe(1, w, v)
        return (v, w) if one is None or other is None else (one, other)

    def _maybe(self, arm: int, v: Value, other: Value) -> Maybe | None:
        if isinstance(v, Maybe):
            return v
        if v != NONE:
            return Maybe(Const(True, BOOL), v)
        nothing = self.like(arm, other.value if isinstance(other, Maybe) else other)
        return None if nothing is None else Maybe(Const(False, BOOL), nothing)

    def alike(self, pair: tuple[Atom, Atom]) -> tuple[Atom, Atom]:
        """The two atoms in one type."""
        type = convert.unify(pair[0].type, pair[1].type)
        assert type is not None, f"{pair} cannot be one value"
        found = []
        for atom, stmts in zip(pair, self.stmts):
            with self.b.arm() as written:
                found.append(convert.to_type(self.b, atom, type))
            stmts.extend(written.block.stmts)
        return found[0], found[1]


def _equal(v: Value, w: Value) -> bool:
    """Whether two values are one; 0.0 and -0.0 are not."""
    return v is w or (v == w and repr(v) == repr(w))


def _write(
    b: Builder,
    cond: Atom,
    yes: Side,
    no: Side,
    pairs: list[tuple[Atom, Atom]],
    wishes: list[str],
    extra: Arms,
) -> list[Atom]:
    """The If with one result for each different pair; the atom that each pair became."""
    at: dict[tuple[Atom, Atom], int] = {}
    names: list[str] = []
    for pair, name in zip(pairs, wishes):
        if not _equal(*pair) and pair not in at:
            at[pair] = len(names)
            names.append(name)
    blocks = [
        replace(
            side.arm.block,
            stmts=side.arm.block.stmts + tuple(extra.stmts[i]),
            yields=tuple(pair[i] for pair in at),
        )
        for i, side in enumerate((yes, no))
    ]
    if not at and not any(block.stmts for block in blocks):
        return [pair[0] for pair in pairs]
    results = b.if_(cond, blocks[0], blocks[1], names)
    return [results[at[pair]] if pair in at else pair[0] for pair in pairs]


def unmerged(
    name: str, v: Value, w: Value | None, loc: Loc, wish: Callable[[str], str]
) -> Unmerged:
    other = "undefined" if w is None else convert.describe(w)
    return Unmerged(
        f"`{wish(name)}` is {convert.describe(v)} on one path and {other} on another",
        loc,
        "which of the two it is would only be known when the program runs",
        "give it the same kind of value on both paths, or use two names",
    )
