"""The names of `numba.cuda` that a kernel uses: how Numba for the CPU types them, what they are.

note [Namespace]  Kernels are typed by Numba for the CPU, which knows nothing of CUDA.  While a
kernel is read, the `cuda` module in its globals is replaced by `NAMESPACE`, whose functions are
typed here and become nodes of the IR; `cuda.threadIdx.x` becomes a call of one.  So neither CUDA
compiler has to be installed to read a kernel, and both mean the same thing.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

from numba.core import errors, types
from numba.core.typing.templates import AbstractTemplate, builtin_registry
from numba.core.typing.templates import signature as typing_signature

from numbaflux.errors import UnsupportedError
from numbaflux.frontend import scalars, subscripts
from numbaflux.frontend.values import (
    NONE,
    Call,
    TupleValue,
    Value,
    array_type,
    known,
    tuple_parts,
)
from numbaflux.ir.build import array_of, index
from numbaflux.ir.nodes import (
    BOOL,
    I64,
    Alloc,
    Atom,
    Atomic,
    Barrier,
    Loc,
    Scalar,
    Shuffle,
    Var,
)
from numbaflux.ir.ops import ATOMICS, SHUFFLES, THREADS

MODULES = ("numba.cuda", "numba_cuda_mlir.cuda", "numba_cuda_mlir.numba_cuda")
PACKAGES = ("numba.cuda.", "numba_cuda_mlir.")
FULL_WARP = 0xFFFFFFFF

Types = tuple[types.Type, ...]


NAMESPACE: Any = ModuleType("cuda")  # note [Namespace]
NAMESPACE.warpsize = 32
INDICES: set[Any] = set()  # functions of no argument that stand for `cuda.threadIdx.x` and its kin


def _part(path: str) -> ModuleType:
    """A module inside the namespace, made when it is first asked for."""
    made = NAMESPACE
    for name in path.split(".")[:-1]:
        if not hasattr(made, name):
            setattr(made, name, ModuleType(f"{made.__name__}.{name}"))
        made = getattr(made, name)
    return made


for _type in ("float32", "float64", "int32", "int64", "uint32", "uint64", "int8", "boolean"):
    setattr(NAMESPACE, _type, getattr(types, _type))
NAMESPACE.types = types


def register(path: str, typed: Callable[..., types.Type]) -> Callable[[Any], Any]:
    """A function of the namespace: `typed(*argument types)` gives the type of its result, and what
    is decorated lowers it, `f(b, call)`.  The parameters of `typed` are named as CUDA's are."""
    signature = inspect.signature(typed)

    def register_lowering(lower: Callable[[Any, Call], Value]) -> Any:
        def lower_bound(b: Any, call: Call) -> Value:
            args = signature.bind(*call.args, **call.kwargs).args
            return lower(b, replace(call, args=args, kwargs={}))

        def stub(*args: Any) -> Any:
            raise NotImplementedError(f"cuda.{path} runs in kernels only")

        stub.__name__ = stub.__qualname__ = path.rsplit(".", 1)[-1]
        stub.numbaflux_lower = lower_bound

        class Template(AbstractTemplate):
            key = stub
            prefer_literal = True

            def generic(self, args: Types, kws: dict[str, types.Type]) -> Any:
                try:
                    given = signature.bind(*args, **kws).args
                    result = typed(*given)
                except TypeError as error:
                    raise errors.TypingError(f"`cuda.{path}`: {error}") from error
                return typing_signature(result, *(types.unliteral(a) for a in given))

        builtin_registry.register_global(stub, types.Function(Template))
        setattr(_part(path), stub.__name__, stub)
        return lower

    return register_lowering


def replaced_by(path: str) -> Callable[[Any], Any]:
    """A function of the namespace that is a plain function, which is read like a user's."""

    def enter(f: Any) -> Any:
        setattr(_part(path), path.rsplit(".", 1)[-1], f)
        return f

    return enter


def stand_in(value: Any, loc: Loc) -> Any:
    """What stands for a value of CUDA's namespaces while a kernel is read; None for others.

    Raises UnsupportedError for one that nothing stands for.
    """
    if isinstance(value, ModuleType):
        return NAMESPACE if value.__name__ in MODULES or _is_named_like_them(value) else None
    if any(value is known for known in INDICES):  # what a kernel refers to may have no hash
        return value
    module = getattr(value, "__module__", None) or type(value).__module__
    if not (isinstance(module, str) and _of_cuda(module)):
        return None
    for cuda in _loaded():
        for path in _paths(NAMESPACE, ""):
            if _at(cuda, path) is value:
                return _at(NAMESPACE, path)
    if is_kernel(value) or not module.startswith(PACKAGES):
        return None
    raise _unknown(f"{module}.{getattr(value, '__name__', type(value).__name__)}", loc)


def check_attribute(owner: Any, name: str, loc: Loc) -> None:
    """Raise UnsupportedError for a name that a module of the namespace does not have."""
    inside = isinstance(owner, ModuleType) and owner.__name__.split(".")[0] == NAMESPACE.__name__
    if inside and not hasattr(owner, name):
        raise _unknown(f"{owner.__name__}.{name}", loc)


def _unknown(name: str, loc: Loc) -> UnsupportedError:
    name = name.removeprefix("numba.")
    parts = {part: instead for part, instead in INSTEAD.items() if part in name.split(".")}
    instead = next(iter(parts.values()), "write it with what docs/cuda.md lists")
    return UnsupportedError(f"`{name}`", loc, "numbaflux does not know it in a kernel", instead)


INSTEAD = {
    "cg": "launch one kernel for each part: a launch waits for the one before it",
    "libdevice": "write it with arithmetic and the functions of `math`",
    "fp16": "compute in float32",
}


def is_kernel(value: Any) -> bool:
    """Whether a value is what `cuda.jit` has made of a function, by whichever compiler."""
    return _of_cuda(type(value).__module__) and callable(getattr(value, "py_func", None))


def _of_cuda(module: str) -> bool:
    """Whether a module is a part of one of the compilers."""
    parts = module.split(".")
    return "cuda" in parts or parts[0] == "numba_cuda_mlir"


def _is_named_like_them(value: ModuleType) -> bool:
    return value.__name__.endswith("numba.cuda") and hasattr(value, "syncthreads")


def _loaded() -> Iterator[ModuleType]:
    yield from (sys.modules[m] for m in MODULES if m in sys.modules)


def _paths(module: ModuleType, prefix: str) -> Iterator[str]:
    for name, value in vars(module).items():
        if not name.startswith("_") and value is not types:
            yield prefix + name
            if isinstance(value, ModuleType):
                yield from _paths(value, f"{prefix}{name}.")


def _at(module: ModuleType, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


# ---- which thread ------------------------------------------------------------------------------


def _numbers(ndim: types.Type) -> types.Type:
    if not isinstance(ndim, types.IntegerLiteral) or ndim.literal_value not in (1, 2, 3):
        raise TypeError("the number of dimensions is 1, 2 or 3, written as a number")
    n = ndim.literal_value
    return types.int64 if n == 1 else types.UniTuple(types.int64, n)


def _thread_numbers(kind: str) -> Callable[[Any, Call], Value]:
    def lower(b: Any, call: Call) -> Value:
        n = known(call.args[0])
        found = [thread(b, f"{kind}_{axis}", call.name) for axis in "xyz"[:n]]
        return found[0] if n == 1 else TupleValue(tuple(found))

    return lower


def _index(path: str, op: str) -> None:
    register(path, lambda: types.int64)(lambda b, call: thread(b, op, call.name))
    INDICES.add(_at(NAMESPACE, path))


def thread(b: Any, op: str, name: str = "t") -> Atom:
    """A number of the running thread."""
    assert op in THREADS
    return b.prim(op, type=I64, name=name if name != "t" else op)


for _name, _kind in (
    ("threadIdx", "thread"), ("blockIdx", "block"), ("blockDim", "block_dim"),
    ("gridDim", "grid_dim"),
):  # fmt: skip
    for _axis in "xyz":
        _index(f"{_name}.{_axis}", f"{_kind}_{_axis}")
_index("laneid", "warp_lane")
register("grid", _numbers)(_thread_numbers("grid"))
register("gridsize", _numbers)(_thread_numbers("grid_size"))


# ---- arrays ------------------------------------------------------------------------------------


def _array(shape: types.Type, dtype: types.Type, alignment: Any = None) -> types.Type:
    if not isinstance(dtype, types.NumberClass):
        raise TypeError("the dtype is a type of numbers, such as float32")
    parts = tuple_parts(shape)
    items = (shape,) if parts is None else parts[0]
    if not all(isinstance(t, types.Integer) for t in items):
        raise TypeError("the shape is an integer or a tuple of integers")
    return types.Array(dtype.instance_type, len(items), "C")


def _new_array(space: str) -> Callable[[Any, Call], Value]:
    def lower(b: Any, call: Call) -> Value:
        shape = known(call.args[0])
        shape = shape if isinstance(shape, tuple) else (shape,)
        if not all(isinstance(n, int) for n in shape):
            raise UnsupportedError(
                f"a {space} array of a computed shape", call.loc,
                "memory for it is laid out when the kernel is compiled",
                "write its shape as numbers, or as constants of the module",
            )  # fmt: skip
        dynamic = space == "shared" and shape == (0,)
        assert isinstance(call.type, types.Array)
        result = Var(call.name if call.name != "t" else space, array_type(call.type, call.loc))
        lengths = (_dynamic_length(b, result),) if dynamic else tuple(index(n) for n in shape)
        b.append(Alloc(result, lengths, False, call.loc, "dynamic" if dynamic else space))
        return result

    return lower


def _dynamic_length(b: Any, array: Var) -> Atom:
    """How many elements the dynamic shared memory of a launch has room for."""
    element = array_of(array).element
    assert isinstance(element, Scalar)
    whole = thread(b, "dynamic_bytes")
    return b.prim("floordiv", whole, index(element.numpy.itemsize), name="length")


register("shared.array", _array)(_new_array("shared"))
register("local.array", _array)(_new_array("local"))


@register("const.array_like", lambda array: array)
def _constant(b: Any, call: Call) -> Value:
    return call.args[0]


# ---- barriers ----------------------------------------------------------------------------------


def _barrier(scope: str) -> Callable[[Any, Call], Value]:
    def lower(b: Any, call: Call) -> Value:
        for mask in call.args:
            _want_full(mask, "a barrier", call)
        b.append(Barrier(scope, call.loc))
        return NONE

    return lower


register("syncthreads", lambda: types.none)(_barrier("block"))
register("syncwarp", lambda mask=None: types.none)(_barrier("warp"))
for _fence in ("threadfence", "threadfence_block", "threadfence_system"):
    register(_fence, lambda: types.none)(lambda b, call: NONE)
register("nanosleep", lambda ns: types.none)(lambda b, call: NONE)


def _vote(routine: str, result: Scalar) -> Callable[[Any, Call], Value]:
    def lower(b: Any, call: Call) -> Value:
        *masks, predicate = call.args
        for mask in masks:
            _want_full(mask, "a vote", call)
        predicate = scalars.convert(b, predicate, BOOL)
        return b.extern(routine, predicate, types=[result], name=call.name)[0]

    return lower


I32 = Scalar("int32")

for _kind in ("count", "and", "or"):
    _register = register(f"syncthreads_{_kind}", lambda predicate: types.int32)
    _register(_vote(f"sync_{_kind}", I32))
for _kind in ("all", "any"):
    _register = register(f"{_kind}_sync", lambda mask, predicate: types.bool_)
    _register(_vote(f"warp_{_kind}", BOOL))
register("ballot_sync", lambda mask, predicate: types.int32)(_vote("warp_ballot", I32))


# ---- warps -------------------------------------------------------------------------------------


def _want_full(mask: Value, what: str, call: Call) -> None:
    """Raise UnsupportedError if the mask of a warp operation may leave threads out."""
    if known(mask) not in (FULL_WARP, -1):
        raise UnsupportedError(
            f"{what} of a part of the warp", call.loc,
            "which threads take part is not known to its derivative",
            "pass the full mask, 0xffffffff, and let all threads take part",
        )  # fmt: skip


def _shuffle(kind: str) -> Callable[[Any, Call], Value]:
    def lower(b: Any, call: Call) -> Value:
        mask, value, lane = call.args
        _want_full(mask, "a shuffle", call)
        result = Var(call.name, value.type)
        b.append(Shuffle(result, kind, value, scalars.convert(b, lane, I64), call.loc))
        return result

    return lower


for _kind in SHUFFLES:
    _name = "shfl_sync" if _kind == "idx" else f"shfl_{_kind}_sync"
    register(_name, lambda mask, value, lane: types.unliteral(value))(_shuffle(_kind))


@register("lanemask_lt", lambda: types.uint32)
def _lanes_before(b: Any, call: Call) -> Value:
    """A bit for every lane of the warp before this one."""
    bit = b.prim("lshift", index(1), thread(b, "warp_lane"))
    return b.cast(b.sub(bit, index(1)), Scalar("uint32"), call.name)


# ---- atomics -----------------------------------------------------------------------------------


def _atomic_type(op: str) -> Callable[..., types.Type]:
    def typed(ary: types.Type, idx: types.Type, *values: types.Type) -> types.Type:
        if not isinstance(ary, types.Array):
            raise TypeError("the first argument is an array")
        if op in WHOLE and not isinstance(ary.dtype, types.Integer):
            raise TypeError(f"the array holds integers, not {ary.dtype}")
        if len(values) != 1 + (op == "cas"):
            raise TypeError(f"{len(values)} values")
        return ary.dtype

    return typed


def _atomic(op: str) -> Callable[[Any, Call], Value]:
    def lower(b: Any, call: Call) -> Value:
        array, where, *values = call.args
        place = subscripts.element_index(call.context, array, where)
        element = array_of(array).element
        assert isinstance(element, Scalar)
        values = tuple(scalars.convert(b, v, element) for v in values)
        result = Var(call.name if call.name != "t" else "before", element)
        b.append(Atomic(result, op, array, tuple(place), values, call.loc))
        return result

    return lower


WHOLE = ("exch", "and", "or", "xor", "inc", "dec", "cas")  # of integers only
for _op in ATOMICS:
    _keyword = "_" * (_op in ("and", "or"))
    register(f"atomic.{_op}{_keyword}", _atomic_type(_op))(_atomic(_op))


@register("atomic.compare_and_swap", lambda ary, old, val: ary.dtype)
def _swap(b: Any, call: Call) -> Value:
    array, old, new = call.args
    return _atomic("cas")(b, replace(call, args=(array, index(0), old, new)))
