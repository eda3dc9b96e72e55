"""Layouts in compiled code: what Numba and the reader make of `P = layout.unpack(p)`, `P.l1.W`.

To Numba, P is a struct of one array and its type knows the names; a part is that array from
another place on, of a constant shape.  To the reader P is the vector, and a part is a view of it.
A layout within another has offsets of its own, so that layers of one shape are of one type.
"""

from __future__ import annotations

import hashlib
from functools import cache
from math import prod
from typing import Any

from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed, lower_constant
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import (
    NativeValue,
    intrinsic,
    lower_getattr_generic,
    models,
    overload_attribute,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import make_array, populate_array

from numbaflux.frontend.arrays import materialise
from numbaflux.ir.build import Builder, array_of, index
from numbaflux.ir.nodes import Array, Atom, Const, Index, Opaque, Reshape, Slice
from numbaflux.parts import Layout


class LayoutType(types.Type):
    """The type of a layout, which is known when code is compiled."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        super().__init__(f"{layout.name}_{_digest(layout)}")

    @property
    def key(self) -> Any:
        return self.layout.name, self.layout.fields


class PartsType(types.Type):
    """The type of a vector whose parts have names."""

    def __init__(self, layout: Layout, vector: types.Array) -> None:
        self.layout, self.vector = layout, vector
        super().__init__(f"parts_{_digest(layout)}({vector})")

    @property
    def key(self) -> Any:
        return self.layout.fields, self.vector  # layers of one shape are of one type

    def part(self, name: str) -> types.Type | None:
        """The type of a part, None for a name that is none."""
        field = dict(self.layout.fields).get(name)
        match field:
            case None:
                return None
            case Layout():
                return PartsType(field, self.vector)
            case ():
                return self.vector.dtype
            case _:
                return types.Array(self.vector.dtype, len(field), "C")


@cache
def _digest(layout: Layout) -> str:
    return hashlib.sha256(repr(layout.fields).encode()).hexdigest()[:12]


register_model(LayoutType)(models.OpaqueModel)


@register_model(PartsType)
class _PartsModel(models.StructModel):
    def __init__(self, manager: Any, ty: PartsType) -> None:
        super().__init__(manager, ty, [("vector", ty.vector)])


@typeof_impl.register(Layout)
def _(layout: Layout, context: Any) -> LayoutType:
    return LayoutType(layout)


# ---- for Numba ---------------------------------------------------------------------------------


@unbox(LayoutType)
def _(ty, layout, c):
    return NativeValue(c.context.get_dummy_value())


@lower_constant(LayoutType)
def _(context, builder, ty, value):
    return context.get_dummy_value()


@overload_attribute(LayoutType, "size", inline="always")
def _(net):
    size = net.layout.size
    return lambda net: size


@overload_method(LayoutType, "unpack")
def _unpack(net, p):
    layout = net.layout
    flat = isinstance(p, types.Array) and p.ndim == 1 and p.layout == "C"
    if not flat or not isinstance(p.dtype, types.Float):
        raise TypingError(f"{layout.name}.unpack takes a contiguous vector of floats, not {p}")
    size, wrong = layout.size, layout.wrong

    def unpack(net, p):
        if p.size != size:
            raise ValueError(wrong)
        return _named(net, p)

    return unpack


@intrinsic
def _named(typingctx, net: Any, p: Any = None):
    """p under the names of a layout."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        made = _struct(context, builder, sig.return_type, args[1])
        return impl_ret_borrowed(context, builder, sig.return_type, made)

    return PartsType(net.layout, p)(net, p), codegen


@infer_getattr
class _PartsAttributes(AttributeTemplate):
    key = PartsType

    def generic_resolve(self, parts: PartsType, attr: str) -> types.Type | None:
        return parts.part(attr)


@lower_getattr_generic(PartsType)
def _lower_part(context: Any, builder: Any, ty: PartsType, value: Any, attr: str) -> Any:
    made = cgutils.create_struct_proxy(ty)(context, builder, value=value)
    vector = make_array(ty.vector)(context, builder, value=made.vector)
    start = builder.gep(vector.data, [cgutils.intp_t(ty.layout.starts[attr])])
    field, part = dict(ty.layout.fields)[attr], ty.part(attr)
    if isinstance(part, types.Float):
        return builder.load(start)
    shape = (field.size,) if isinstance(field, Layout) else field
    of: Any = part.vector if isinstance(part, PartsType) else part
    found = seen_as(context, builder, of, vector, start, [cgutils.intp_t(n) for n in shape])
    found = _struct(context, builder, part, found) if isinstance(part, PartsType) else found
    return impl_ret_borrowed(context, builder, part, found)


def seen_as(context: Any, builder: Any, ty: types.Array, owner: Any, data: Any, dims: Any) -> Any:
    """The memory of an array, from `data` on, as a C array of these lengths."""
    strides: list[Any] = []
    step = owner.itemsize
    for n in reversed(dims):
        strides.insert(0, step)
        step = builder.mul(step, n)
    array = make_array(ty)(context, builder)
    populate_array(array, data, dims, strides, owner.itemsize, owner.meminfo, owner.parent)
    return array._getvalue()


def _struct(context: Any, builder: Any, ty: PartsType, vector: Any) -> Any:
    made = cgutils.create_struct_proxy(ty)(context, builder)
    made.vector = vector
    return made._getvalue()


# ---- for the reader ----------------------------------------------------------------------------


def _lower_unpack(b: Builder, call: Any) -> Atom:
    """P is the vector itself; its length is looked at."""
    _, p = call.args
    p, layout = materialise(b, p), call.type.layout
    wrong = b.prim("ne", b.dim(p, 0), index(layout.size))
    b.raise_if(wrong, ValueError, Const(layout.wrong, Opaque(types.unicode_type)))
    return p


Layout.unpack.numbaflux_lower = _lower_unpack  # pyright: ignore[reportFunctionMemberAccess]


def part_of(b: Builder, vector: Atom, ty: PartsType, name: str) -> Atom:
    """A part of the vector: a view, or an element."""
    start, field = ty.layout.starts[name], dict(ty.layout.fields)[name]
    if field == ():
        return b.load(vector, [index(start)], name=name)
    size = field.size if isinstance(field, Layout) else prod(field)
    flat = array_of(vector)
    whole = b.view(vector, Index((Slice(index(start), index(start + size)),)), flat, name)
    if isinstance(field, Layout):
        return whole
    type = Array(flat.element, len(field), "C", readonly=flat.readonly)
    return b.view(whole, Reshape(tuple(map(index, field))), type, name)
