"""What a look over a whole function tells before it is lowered.

note [Fusion]  An array expression stays without memory (`arrays.Lazy`) if it is used exactly once,
further down in the same basic block, with nothing but pure statements in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba.core import ir, types

from numbaflux.frontend.read import Typed
from numbaflux.frontend.scalars import scalar
from numbaflux.frontend.values import plain

PURE = {"binop", "unary", "getattr", "build_tuple", "cast", "exhaust_iter", "static_getitem",
        "getitem", "phi"}  # fmt: skip
PURE_BUILTINS = (slice, len, bool, int, float, range)


@dataclass(frozen=True)
class Facts:
    """`wishes`: temporary -> the user's name it is copied to. `phis`: names with two halves.

    `growing`: item types of lists that change. `lazy`: names that may stay expressions.
    """

    wishes: dict[str, str]
    phis: frozenset[str]
    growing: frozenset[types.Type]
    lazy: frozenset[str]


def facts(typed: Typed) -> Facts:
    wishes: dict[str, str] = {}
    phis: set[str] = set()
    growing: set[types.Type] = set()
    for stmt in statements(typed):
        growing |= set(_grown(typed, stmt))
        match stmt:
            case ir.Assign(target=ir.Var(name=name), value=ir.Var(name=source)):
                if source.startswith("$"):
                    wishes.setdefault(source, name)
            case ir.Assign(target=ir.Var(name=name), value=ir.Expr(op="phi")):
                phis.add(name)
            case _:
                pass
    for name in wishes:
        while plain(wishes[name]) == "t" and wishes[name] in wishes:
            wishes[name] = wishes[wishes[name]]
    return Facts(wishes, frozenset(phis), frozenset(growing), frozenset(_lazy(typed)))


def statements(typed: Typed) -> Iterator[Any]:
    for block in typed.blocks.values():
        yield from block.body


# ---- lists -----------------------------------------------------------------------------------


def _grown(typed: Typed, stmt: Any) -> Iterator[types.Type]:
    """Item types of the lists that a statement may change."""

    def lists(*names: str) -> Iterator[types.Type]:
        for name in names:
            ty = typed.typemap.get(name)
            if isinstance(ty, types.List):
                yield ty.dtype

    match stmt:
        case ir.SetItem() | ir.StaticSetItem():
            yield from lists(stmt.target.name)
        case ir.Assign(target=target, value=ir.Expr(op="getattr") as e):
            if e.attr not in ("count", "index", "copy") and isinstance(
                typed.typemap.get(target.name), types.BoundFunction
            ):
                yield from lists(e.value.name)
        case ir.Assign(target=target, value=ir.Expr(op="binop" | "inplace_binop")):
            yield from lists(target.name)
        case ir.Assign(value=ir.Expr(op="call") as e):
            if isinstance(typed.typemap.get(e.func.name), types.Dispatcher):
                yield from lists(*(a.name for a in e.args))
        case _:
            return


# ---- fusion ----------------------------------------------------------------------------------


def _lazy(typed: Typed) -> Iterator[str]:
    uses = Counter(v.name for s in statements(typed) for v in _read(s))
    for block in typed.blocks.values():
        for at, stmt in enumerate(block.body):
            if not isinstance(stmt, ir.Assign) or uses[stmt.target.name] != 1:
                continue
            ty = typed.typemap.get(stmt.target.name)
            if isinstance(ty, types.Array) and _used_soon(typed, block.body, at):
                yield stmt.target.name


def _used_soon(typed: Typed, body: list[Any], at: int) -> bool:
    """Whether the only use comes before anything that may write memory."""
    name = body[at].target.name
    for stmt in body[at + 1 :]:
        if any(v.name == name for v in _read(stmt)):
            return not isinstance(stmt, ir.Jump | ir.Branch | ir.Return)
        if not _pure(typed, stmt):
            return False
    return False


def _read(stmt: Any) -> Iterator[ir.Var]:
    written = stmt.target.name if isinstance(stmt, ir.Assign) else None
    for v in stmt.list_vars():
        if v.name != written:
            yield v


def _pure(typed: Typed, stmt: Any) -> bool:
    if not isinstance(stmt, ir.Assign):
        return False
    e = stmt.value
    if not isinstance(e, ir.Expr) or e.op in PURE:
        return True
    if e.op != "call":
        return False
    function = typed.typemap.get(e.func.name)
    key = getattr(function, "typing_key", None)
    if isinstance(key, np.ufunc):
        return len(e.args) == key.nin
    if isinstance(function, types.NumberClass):
        return True
    return isinstance(function, types.Function) and (key in PURE_BUILTINS or _math(key))


def _math(key: Any) -> bool:
    return scalar(key) is not None and getattr(key, "__module__", None) in ("math", "builtins")
