"""What is particular to threads: the rules of warp operations, and what has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, index, zero_of
from numbaflux.ir.nodes import I64, Atom, Atomic, For, Load, Shuffle, Stmt, Var, While
from numbaflux.ir.ops import EXTREMA, WARP
from numbaflux.ir.walk import walk

if TYPE_CHECKING:
    from numbaflux.transforms.vjp import Reverse


def refuse_atomic(stmt: Atomic) -> NoReturn:
    """Raise UnsupportedError: what the operation leaves depends on which thread came first."""
    if stmt.op in EXTREMA:
        raise UnsupportedError(
            f"`cuda.atomic.{stmt.op}` on an array that is differentiated", stmt.loc,
            "whose value is left is found by computing the values again, and something that they "
            "depend on is overwritten, or it depends on the order of the threads",
            "do not use what it returns, and write results into other arrays than are read",
        )  # fmt: skip
    raise UnsupportedError(
        f"`cuda.atomic.{stmt.op}` on an array that is differentiated", stmt.loc,
        "its result depends on the order of the threads",
        "add with `cuda.atomic.add` and do not use what it returns",
    )  # fmt: skip


def reverse_extremum(rev: Reverse, stmt: Atomic) -> None:
    """a[i] = max(a[i], v), not settled (winners.py): who gave what is there takes the cotangent.

    Of several with one value the first to come takes all of it; if there is none it stays with
    what was there before.
    """
    if stmt.op not in ("max", "min") or stmt.result in rev.active or not _lasts(rev, stmt):
        refuse_atomic(stmt)
    (v,) = stmt.args
    b, shadow, place = rev.b, rev.shadow(stmt.array), rev.need(*stmt.index)
    final = b.load(stmt.array, place, "final")
    wins = b.prim("eq", final, rev.values.need(v))
    with b.arm() as then:
        taken = Var("taken", v.type)
        nothing = zero_of(v.type)
        b.append(Atomic(taken, "exch", shadow, place, (nothing,), stmt.loc))
        then.yields = [taken]
    with b.arm() as orelse:
        orelse.yields = [nothing]
    (d,) = b.if_(wins, then.block, orelse.block, ["d"])
    rev.contribute(v, d)


def _lasts(rev: Reverse, stmt: Atomic) -> bool:
    """Whether what it leaves is only changed by the same operation, and not looked at before."""
    places = rev.values.places
    mine, before = places.alias.of(stmt.array), True
    loops = _loops(rev, stmt)
    looked = False
    for s in walk(places.root):
        before &= s is not stmt
        again = not before or not _loops(rev, s).isdisjoint(loops)
        alike = isinstance(s, Atomic) and s.op == stmt.op
        if again and isinstance(s, Load) and not places.alias.of(s.array).isdisjoint(mine):
            looked = True
            if not _loops(rev, s).isdisjoint(loops):
                return False
        if again and not places.alias.written(s).isdisjoint(mine) and (looked or not alike):
            return False
    return True


def _loops(rev: Reverse, stmt: Stmt) -> set[Stmt]:
    """The loops around a statement."""
    return {
        loop
        for loop in walk(rev.values.places.root)
        if isinstance(loop, For | While) and stmt in walk(loop.body)
    }


def shuffle(b: Builder, kind: str, value: Atom, lane: Atom, name: str = "t") -> Var:
    result = Var(name, value.type)
    b.append(Shuffle(result, kind, value, lane, b.loc))
    return result


def reverse_shuffle(b: Builder, stmt: Shuffle, lane: Atom, d: Atom) -> Atom:
    """What the cotangents of a shuffle's results contribute to that of the thread's own value.

    The transpose of a permutation is its inverse; a thread that got its own value gives it back.
    """
    own = b.prim("warp_lane", type=I64, name="lane")
    match stmt.kind:
        case "xor":
            return shuffle(b, "xor", d, lane)
        case "down":
            inside = b.prim("ge", own, lane)
            alone = b.prim("ge", b.add(own, lane), index(WARP))
            return _moved(b, shuffle(b, "up", d, lane), inside, d, alone)
        case "up":
            inside = b.prim("lt", b.add(own, lane), index(WARP))
            alone = b.prim("lt", own, lane)
            return _moved(b, shuffle(b, "down", d, lane), inside, d, alone)
        case _:
            return _collected(b, d, lane, own)


def _moved(b: Builder, other: Atom, inside: Atom, d: Atom, alone: Atom) -> Atom:
    """What comes from another thread, and what a thread at the edge keeps."""
    nothing = zero_of(d.type)
    return b.add(b.select(inside, other, nothing), b.select(alone, d, nothing))


def _collected(b: Builder, d: Atom, lane: Atom, own: Atom) -> Atom:
    """The sum over the threads that read this one's value."""
    source = b.prim("mod", lane, index(WARP))
    with b.for_(index(WARP), [zero_of(d.type)], "lane", ["total"]) as loop:
        theirs = shuffle(b, "idx", d, loop.k)
        mine = b.prim("eq", shuffle(b, "idx", source, loop.k), own)
        part = b.select(mine, theirs, zero_of(d.type))
        loop.yields = [b.add(loop.carried[0], part)]
    return loop.results[0]
