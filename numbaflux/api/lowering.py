"""Statements of generated code as LLVM code: an operator is looked up once for some types."""

# Numba's classes declare few of their attributes.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import operator
from typing import Any

from numba.core import types
from numba.core.lowering import Lower

ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.truediv)
ARITHMETIC += (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)


class ShortLower(Lower):
    """Numba's lowering, short where generated code is long."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._operators: dict[Any, Any] = {}

    def lower_binop(self, resty: Any, expr: Any, op: Any) -> Any:
        """An operator's code is looked up once for some types, not at each place."""
        args = self.fndesc.calltypes[expr].args
        if op not in ARITHMETIC or not all(isinstance(t, types.Number) for t in args):
            return super().lower_binop(resty, expr, op)
        context, builder = self.context, self.builder
        if (op, args) not in self._operators:
            fn = context.typing_context.resolve_value_type(op)
            sig = fn.get_call_type(context.typing_context, args, {})
            self._operators[op, args] = context.get_function(fn, sig), sig.return_type
        implementation, given = self._operators[op, args]
        operands = [
            context.cast(builder, self.loadvar(v.name), self.typeof(v.name), t)
            for v, t in zip((expr.lhs, expr.rhs), args)
        ]
        return context.cast(builder, implementation(builder, operands), given, resty)
