"""A control tree run in CPython, statement by statement: what a tree means, without lowering it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba.core import ir
from numba.core.dispatcher import Dispatcher

from numbaflux.frontend.tree import (
    RESULT,
    Branch,
    Do,
    Each,
    Goto,
    Node,
    Raise,
    Repeat,
    Set,
    When,
)


class Evaluator:
    """Names have values; a name that is read must have one, but as the source of a phi half."""

    def __init__(self, args: tuple) -> None:
        self.args = args
        self.env: dict[str, Any] = {}
        self.go: int | None = None

    def run(self, nodes: Sequence[Node]) -> Any:
        self.sequence(nodes)
        return self.env[RESULT]

    def sequence(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self.node(node)

    def node(self, node: Node) -> None:
        match node:
            case Do(stmt):
                self.do(stmt)
            case Set(target, source):
                if source is None or source not in self.env:
                    self.env.pop(target, None)
                else:
                    self.env[target] = self.env[source]
            case Goto(label):
                self.go = label
            case When(label, body):
                if self.go == label:
                    self.sequence(body)
            case Branch(cond, then, orelse):
                self.sequence(then if self.env[cond] else orelse)
            case Each():
                assert not node.exits or self.go == node.label
                for item in self.env[node.iterator]:
                    self.env[node.item] = item
                    self.sequence(node.body)
                    if node.exits and self.go != node.label:
                        break
            case Repeat(body, label):
                self.sequence(body)
                while self.go == label:
                    self.sequence(body)
            case Raise(stmt):
                raise stmt.exc_class(*stmt.exc_args or ())

    def do(self, stmt: Any) -> None:
        match stmt:
            case ir.Assign(target=target, value=value):
                self.env[target.name] = self.value(value)
            case ir.SetItem():
                self.get(stmt.target)[self.get(stmt.index)] = self.get(stmt.value)
            case ir.StaticSetItem():
                self.get(stmt.target)[stmt.index] = self.get(stmt.value)
            case _:
                raise AssertionError(f"not expected in these programs: {stmt}")

    def get(self, v: ir.Var) -> Any:
        return self.env[v.name]

    def value(self, e: Any) -> Any:
        match e:
            case ir.Var():
                return self.get(e)
            case ir.Arg(index=index):
                return self.args[index]
            case ir.Const(value=value) | ir.Global(value=value) | ir.FreeVar(value=value):
                return value.py_func if isinstance(value, Dispatcher) else value
            case ir.Expr(op="binop" | "inplace_binop"):
                return e.fn(self.get(e.lhs), self.get(e.rhs))
            case ir.Expr(op="unary"):
                return e.fn(self.get(e.value))
            case ir.Expr(op="call"):
                args = [self.get(v) for v in e.args]
                return self.get(e.func)(*args, **{k: self.get(v) for k, v in e.kws})
            case ir.Expr(op="getattr"):
                return getattr(self.get(e.value), e.attr)
            case ir.Expr(op="getitem"):
                return self.get(e.value)[self.get(e.index)]
            case ir.Expr(op="static_getitem"):
                return self.get(e.value)[e.index]
            case ir.Expr(op="build_tuple"):
                return tuple(self.get(v) for v in e.items)
            case ir.Expr(op="exhaust_iter"):
                return tuple(self.get(e.value))
            case ir.Expr(op="cast" | "getiter"):
                return self.get(e.value)
        raise AssertionError(f"not expected in these programs: {e}")


def same(a: Any, b: Any) -> bool:
    """Whether two results, or lists of arrays, are the same to the bit."""
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return bool(np.array_equal(a, b, equal_nan=isinstance(a, float | np.ndarray)))
