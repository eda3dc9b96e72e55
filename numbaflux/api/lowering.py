"""Statements of generated code as LLVM code, without what LLVM would only have to take out again.

For an element of an array Numba copies the array's description into memory, field by field, and
looks the operation up; in generated code, which is full of elements, most of a compilation goes
into such code.  Here an element is addressed from the three or four fields that matter, an array is
counted by the one that counts it, and an operator is looked up once for some types.
"""

# Numba's classes declare few of their attributes.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import operator
from typing import Any

from numba.core import cgutils, types
from numba.core.lowering import Lower
from numba.np.arrayobj import fix_integer_index, load_item, store_item

from numbaflux.frontend.values import tuple_parts

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
        operands = [self._as(v, t) for v, t in zip((expr.lhs, expr.rhs), args)]
        return context.cast(builder, implementation(builder, operands), given, resty)

    def lower_getitem(self, resty: Any, expr: Any, value: Any, index: Any, signature: Any) -> Any:
        """An element of an array is loaded from its address."""
        array, place, *_ = signature.args
        if not self._is_element(array, place):
            return super().lower_getitem(resty, expr, value, index, signature)
        address = self._address(array, value, place, index)
        found = load_item(self.context, self.builder, array, address)
        return self.context.cast(self.builder, found, array.dtype, resty)

    def lower_setitem(self, target_var: Any, index_var: Any, value_var: Any, signature: Any) -> Any:
        """An element of an array is stored at its address."""
        array, place, given = signature.args
        if not self._is_element(array, place) or self.typeof(target_var.name) != array:
            return super().lower_setitem(target_var, index_var, value_var, signature)
        address = self._address(array, target_var, place, index_var)
        value = self.context.cast(self.builder, self._as(value_var, given), given, array.dtype)
        return store_item(self.context, self.builder, array, value, address)

    def incref(self, typ: Any, val: Any) -> None:
        """One reference more."""
        super().incref(*self._counted(typ, val))

    def decref(self, typ: Any, val: Any) -> None:
        """One reference less."""
        super().decref(*self._counted(typ, val))

    def _as(self, var: Any, ty: types.Type) -> Any:
        """The value of a variable as another type."""
        return self.context.cast(self.builder, self.loadvar(var.name), self.typeof(var.name), ty)

    def _field(self, ty: types.Type, array: Any, name: str, *place: int) -> Any:
        """A field of an array's description, or an item of it."""
        position = self.context.data_model_manager[ty].get_field_position(name)
        return self.builder.extract_value(array, [position, *place])

    def _counted(self, ty: types.Type, value: Any) -> tuple[types.Type, Any]:
        """What is counted in a value."""
        if type(ty) is not types.Array:
            return ty, value
        return types.MemInfoPointer(ty.dtype), self._field(ty, value, "meminfo")

    def _is_element(self, array: types.Type, place: types.Type) -> bool:
        """Whether a number in an array is named by an integer for each axis, unchecked."""
        if type(array) is not types.Array or self.context.enable_boundscheck:
            return False
        number = isinstance(array.dtype, types.Float | types.Integer | types.Boolean)
        axes = _axes(place)
        return (
            number
            and len(axes) == array.ndim > 0
            and all(isinstance(t, types.Integer) for t in axes)
        )

    def _address(self, ty: Any, array: Any, place: types.Type, index: Any) -> Any:
        """Where an element is, its negative indices counted from the end."""
        builder, context = self.builder, self.context
        value, given, axes = self.loadvar(array.name), self._as(index, place), _axes(place)
        single = isinstance(place, types.Integer)
        items = [given] if single else cgutils.unpack_tuple(builder, given)
        shape = [self._field(ty, value, "shape", n) for n in range(ty.ndim)]
        at = [fix_integer_index(context, builder, *item) for item in zip(axes, items, shape)]
        strides = [self._field(ty, value, "strides", n) for n in range(ty.ndim) if ty.layout == "A"]
        return cgutils.get_item_pointer2(
            context, builder, self._field(ty, value, "data"), shape, strides, ty.layout, at
        )


def _axes(place: types.Type) -> list[types.Type]:
    """The types of the indices."""
    parts = tuple_parts(place)
    return [place] if parts is None else [*parts[0]]
