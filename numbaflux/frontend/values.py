"""What a name of the user's can stand for while a function is lowered, and Numba's types in ours.

Scalars and arrays are atoms of the IR.  Everything else Python has (tuples, slices, ranges, lists,
functions) exists only while reading: it is one of the values below, made of atoms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from numba.core import types

from numbaflux.errors import UnsupportedError
from numbaflux.ir.nodes import NOWHERE, Array, Atom, Const, Global, Loc, Opaque, Scalar, Type, Var


@dataclass(frozen=True, slots=True)
class TupleValue:
    """A tuple, or with `cls` a namedtuple; also a list that never changes."""

    items: tuple[Value, ...]
    cls: type | None = None


@dataclass(frozen=True, slots=True)
class Maybe:
    """A value, or None if not `present`: what two paths make of the two."""

    present: Atom
    value: Value


@dataclass(frozen=True, slots=True)
class SliceValue:
    """slice(start, stop, step); None where left out."""

    start: Atom | None = None
    stop: Atom | None = None
    step: Atom | None = None


@dataclass(frozen=True, slots=True)
class RangeValue:
    """range(start, stop, step), all of one integer type; `parallel`: prange; `slots`: snapshots."""

    start: Atom
    stop: Atom
    step: Atom
    parallel: bool = False
    slots: Atom | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A Python object known while reading: None, a module, function, class, dtype, dispatcher."""

    value: Any


@dataclass(frozen=True, slots=True)
class ListValue:
    """A list of scalars: an array that grows, and an int64[1] array with the length."""

    cells: Var
    length: Var


@dataclass(frozen=True, slots=True)
class IterValue:
    """What `enumerate`, `zip`, `np.ndindex`, `np.ndenumerate`, `.flat` make.

    `parts` are the values iterated over; for `ndindex` the shape.
    """

    kind: str
    parts: tuple[Value, ...]
    start: Atom | None = None  # of enumerate


@dataclass(frozen=True, slots=True)
class Method:
    """owner.name before it is called."""

    owner: Value
    name: str


# An atom, one of the above, or an array expression whose loop is not written yet (arrays.Lazy).
Value = Any

NONE = Known(None)


@dataclass(frozen=True, slots=True)
class Call:
    """A call with its arguments lowered: what the handlers of NumPy's functions get.

    For a method, the array it belongs to is `args[0]`.  `type` is Numba's type of the result,
    `signature` its whole signature; `name` the user's name for the result.
    """

    args: tuple[Value, ...]
    kwargs: dict[str, Value]
    type: types.Type
    loc: Loc = NOWHERE
    signature: Any = None
    name: str = "t"
    function: Any = None
    context: Any = field(default=None, repr=False)  # the Lowering that met the call


def plain(name: str) -> str:
    """The user's name in one of Numba's: `x.1` is x, `$12load.3` nobody's and so t."""
    name = _INLINED.sub("", name).split(".", 1)[0].rstrip("!")
    ours = name.isidentifier() and not _TEMPORARY.match(name)
    return name if ours else "t"


_INLINED = re.compile(r"^closure__locals__.*?_v\d+_")  # what Numba puts before an inlined name
_TEMPORARY = re.compile(r"^_v(\d+|phi|const|binop|bool|compare|return)")


# ---- types ---------------------------------------------------------------------------------------


def ir_type(ty: types.Type, loc: Loc | None = None) -> Type:
    """The IR's type for a Numba type that is one scalar, array or opaque value."""
    ty = types.unliteral(ty)
    match ty:
        case types.Boolean():
            return Scalar("bool")
        case types.Integer() | types.Float():
            return scalar_type(ty, loc)
        case types.Array():
            return array_type(ty, loc)
        case types.Type(vector=types.Array() as vector):  # with named parts
            return array_type(vector, loc)
        case types.Complex():
            raise UnsupportedError(
                f"a complex number ({ty})", loc, "derivatives are of real functions",
                "keep the real and the imaginary part in two variables",
            )  # fmt: skip
        case _:
            return Opaque(ty)


def scalar_type(ty: types.Type, loc: Loc | None) -> Scalar:
    name = str(ty)
    if name == "float16":
        raise UnsupportedError("float16", loc, "it has no arithmetic on the CPU", "use float32")
    return Scalar(name)


def array_type(ty: types.Array, loc: Loc | None) -> Array:
    dtype = types.unliteral(ty.dtype)
    if not isinstance(dtype, types.Boolean | types.Integer | types.Float):
        raise UnsupportedError(
            f"an array of {dtype}", loc, "arrays hold real numbers here",
            "pass one array for each field, or for the real and imaginary parts",
        )  # fmt: skip
    element = ir_type(dtype, loc)
    assert isinstance(element, Scalar)
    return Array(element, ty.ndim, ty.layout, readonly=not ty.mutable)


def tuple_parts(ty: types.Type) -> tuple[tuple[types.Type, ...], type | None] | None:
    """The item types and the namedtuple class of a tuple type, None for any other type."""
    if not isinstance(ty, types.BaseTuple):
        return None
    made: Any = ty  # Numba declares the item types in the subclasses only
    return tuple(made.types), getattr(ty, "instance_class", None)


# ---- values as atoms -----------------------------------------------------------------------------


def is_atom(v: Value) -> TypeGuard[Atom]:
    return isinstance(v, Var | Const | Global)


def leaves(v: Value) -> Iterator[Atom]:
    """The atoms a value is made of, from left to right."""
    match v:
        case Var() | Const() | Global():
            yield v
        case TupleValue(items):
            for item in items:
                yield from leaves(item)
        case SliceValue(start, stop, step):
            yield from (a for a in (start, stop, step) if a is not None)
        case RangeValue(start, stop, step, slots=slots):
            yield from (start, stop, step, *(() if slots is None else (slots,)))
        case ListValue(cells, length):
            yield from (cells, length)
        case IterValue(parts=parts, start=start):
            for part in parts:
                yield from leaves(part)
            if start is not None:
                yield start
        case Maybe(present, value):
            yield present
            yield from leaves(value)
        case Method(owner):
            yield from leaves(owner)
        case _:
            return


def rebuild(v: Value, atoms: Iterator[Atom]) -> Value:
    """A value like `v` with its leaves taken from `atoms`."""

    def maybe(a: Atom | None) -> Atom | None:
        return None if a is None else next(atoms)

    match v:
        case Var() | Const() | Global():
            return next(atoms)
        case TupleValue(items):
            return replace(v, items=tuple(rebuild(i, atoms) for i in items))
        case SliceValue(start, stop, step):
            return SliceValue(maybe(start), maybe(stop), maybe(step))
        case RangeValue(slots=slots):
            start, stop, step = next(atoms), next(atoms), next(atoms)
            return RangeValue(start, stop, step, v.parallel, maybe(slots))
        case IterValue(parts=parts, start=start):
            new = tuple(rebuild(p, atoms) for p in parts)
            return replace(v, parts=new, start=maybe(start))
        case Maybe(_, value):
            return Maybe(next(atoms), rebuild(value, atoms))
        case Method(owner):
            return replace(v, owner=rebuild(owner, atoms))
        case _:
            return v


def same_shape(v: Value, w: Value) -> bool:
    """Whether two values differ at most in their atoms, so that they can merge leaf by leaf."""
    if is_atom(v) or is_atom(w):
        return is_atom(v) and is_atom(w)
    if isinstance(v, ListValue | Known):
        return v == w
    if type(v) is not type(w):
        return False
    match v, w:
        case TupleValue(a, cls), TupleValue(b, other):
            return len(a) == len(b) and cls is other and all(map(same_shape, a, b))
        case Maybe(), Maybe():
            return same_shape(v.value, w.value)
        case SliceValue(), SliceValue():
            parts = ((v.start, w.start), (v.stop, w.stop), (v.step, w.step))
            return all((p is None) == (q is None) for p, q in parts)
        case RangeValue(), RangeValue():
            return v.parallel == w.parallel and (v.slots is None) == (w.slots is None)
        case IterValue(), IterValue():
            return v.kind == w.kind and all(map(same_shape, v.parts, w.parts))
        case _:
            return False


def known(v: Value, default: Any = None) -> Any:
    """The Python value of a constant or known value (a tuple of them too), else `default`."""
    match v:
        case Const(value) | Known(value):
            return value
        case TupleValue(items):
            found = tuple(known(i, default) for i in items)
            return default if any(f is default for f in found) else found
        case _:
            return default


@dataclass(frozen=True, slots=True)
class Unmerged:
    """A name whose value differs in kind between two paths: an error if it is used."""

    what: str
    loc: Loc
    why: str
    instead: str


GO = "$go"  # the name under which an environment keeps the label that control goes to
