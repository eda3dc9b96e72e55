"""How Numba compiles generated code: its own pipeline, with what generated code is full of cheaper.

Every `np.empty`, `np.zeros`, `min`, `max` and `reshape` is for Numba a function that it has to
compile, five of them for the first `np.zeros`, 20 ms each.  Here they are lowered where they are
called, by the same instructions.  And what an operator gives for some types is looked up once, not
once for each time it stands in the text and each round of the type inference.
"""

# Numba's classes declare few of their attributes.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportOptionalCall=false

from __future__ import annotations

import gc
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils, event, ir
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.dispatcher import Dispatcher
from numba.core.imputils import impl_ret_borrowed, lower_builtin, lower_constant
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering, NopythonRewrites
from numba.core.typing.npydecl import parse_dtype
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    bound_function,
    infer_getattr,
    infer_global,
    signature,
)
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FindLiterallyCalls,
    FixupArgs,
    InlineClosureLikes,
    LiteralPropagationSubPipelinePass,
    LiteralUnroll,
    MakeFunctionToJitFunction,
    WithLifting,
)
from numba.cpython.builtins import do_minmax
from numba.extending import models, register_model, typeof_impl
from numba.np.arrayobj import get_itemsize, make_array, populate_array

from numbaflux.api.linking import LinkedCode
from numbaflux.api.workspace import Workspace
from numbaflux.frontend.parts import seen_as
from numbaflux.frontend.values import tuple_parts

Types = tuple[types.Type, ...]

NEGATIVE = "negative dimensions not allowed"
TOO_BIG = (
    "array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size."
)


def compile_so(dispatcher: Dispatcher) -> None:
    """Let a generated function be compiled by this pipeline."""
    dispatcher._compiler.pipeline_class = _Generated


@contextmanager
def without_collector() -> Iterator[None]:
    """Leave garbage until the end: an eighth of a compilation goes into looking for it in vain."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def lowered(dispatcher: Dispatcher, arg_types: Types) -> CompileResult:
    """A generated function for these types, by this pipeline, once; not machine code yet."""
    known = dispatcher.__dict__.setdefault("numbaflux_lowered", {})
    if arg_types not in known:
        compiler = dispatcher._compiler
        before, compiler.pipeline_class = compiler.pipeline_class, _Linked
        details = {"dispatcher": dispatcher, "args": arg_types, "return_type": None}
        try:
            with dispatcher._compiling_counter, event.trigger_event("numba:compile", data=details):
                known[arg_types] = compiler.compile(arg_types, None)
        finally:
            compiler.pipeline_class = before
    return known[arg_types]


class _Generated(CompilerBase):
    def __init__(self, typingctx: Any, *args: Any) -> None:
        super().__init__(Remembering(typingctx), *args)

    def define_pipelines(self) -> list[Any]:
        pm = DefaultPassBuilder.define_nopython_pipeline(self.state)
        if not self.state.flags.auto_parallel.enabled:  # whose analysis knows NumPy's functions
            ours = {NativeLowering: self.lowering}
            pm.passes = [(ours.get(p, p), why) for p, why in pm.passes if p not in NEEDLESS]
            pm.add_pass_after(_Shorten, FixupArgs)
        pm.finalize()
        return [pm]

    @property
    def lowering(self) -> Any:
        return _Lowering


class _Linked(_Generated):
    @property
    def lowering(self) -> Any:
        return _LoweringToLink


# ---- types -------------------------------------------------------------------------------------


class Remembering:
    """A typing context that remembers, during one compilation, what operators give for numbers, and
    what an index gives for an array."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, func: Any, args: Types, kws: Mapping[str, Any]) -> Any:
        made = self._context.resolve_function_type
        if kws or not (isinstance(func, types.Function) or func is operator.getitem):
            return made(func, args, kws)
        kinds = ELEMENTS if func is operator.getitem else NUMBERS
        return self._once(kinds, func, args, lambda: made(func, args, kws))

    def resolve_setitem(self, target: types.Type, index: types.Type, value: types.Type) -> Any:
        args = target, index, value
        return self._once(ELEMENTS, "setitem", args, lambda: self._context.resolve_setitem(*args))

    def _once(self, kinds: Any, what: Any, args: Types, find: Callable[[], Any]) -> Any:
        """What is found for arguments of some kinds, which does not change."""
        if not all(isinstance(a, kinds) for a in args):
            return find()
        key = what, tuple(args)
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]


NUMBERS = types.Number | types.Boolean
ELEMENTS = NUMBERS | types.Array | types.BaseTuple | types.SliceType


# ---- calls -------------------------------------------------------------------------------------


def empty(*args: Any) -> Any:
    """np.empty of a shape and, perhaps, an element type."""


def zeros(*args: Any) -> Any:
    """np.zeros of a shape and, perhaps, an element type."""


def least(*args: Any) -> Any:
    """min of two numbers."""


def greatest(*args: Any) -> Any:
    """max of two numbers."""


def reshaped(*args: Any) -> Any:
    """A contiguous array under another shape of as many elements."""


ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.truediv)
ARITHMETIC += (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)
SHORTER = {np.empty: empty, np.zeros: zeros, min: least, max: greatest}


@register_pass(mutates_CFG=False, analysis_only=False)
class _Shorten(FunctionPass):
    """Call our functions in place of Numba's."""

    _name = "numbaflux_shorten"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        known = state.func_ir._definitions
        for block in state.func_ir.blocks.values():
            block.body = [new for stmt in block.body for new in _shortened(stmt, known)]
        return False


def _shortened(stmt: Any, known: dict[str, list[Any]]) -> Sequence[Any]:
    """The statement, or what calls a function of ours."""
    if not (isinstance(stmt, ir.Assign) and isinstance(stmt.value, ir.Expr)):
        return (stmt,)
    call = stmt.value
    if call.op != "call" or call.vararg is not None:
        return (stmt,)
    fn = _function(call.func, known)
    if fn is None or any(name != "dtype" for name, _ in call.kws):
        return (stmt,)
    callee = ir.Var(stmt.target.scope, f"{call.func.name}.short", call.loc)
    args = [*call.args, *(value for _, value in call.kws)]
    if fn is reshaped:
        args.insert(0, _only(call.func, known).value)
    named = ir.Assign(ir.Global(fn.__name__, fn, call.loc), callee, call.loc)
    new = ir.Assign(ir.Expr.call(callee, args, (), call.loc), stmt.target, stmt.loc)
    known[callee.name] = [named.value]
    known[stmt.target.name] = [new.value if d is call else d for d in known[stmt.target.name]]
    return named, new


def _function(callee: Any, known: Mapping[str, list[Any]]) -> Any:
    """Ours for what is called, a global or an attribute of NumPy's."""
    found = _only(callee, known)
    if isinstance(found, ir.Global):
        return SHORTER[found.value] if found.value is min or found.value is max else None
    if isinstance(found, ir.Expr) and found.op == "getattr":
        owner = _only(found.value, known)
        if isinstance(owner, ir.Global) and owner.value is np:
            return SHORTER.get(getattr(np, found.attr, None))
        return reshaped if found.attr == "reshape" else None
    return None


def _only(name: Any, known: Mapping[str, list[Any]]) -> Any:
    """The one definition of a name."""
    found = known.get(name.name, [])
    return found[0] if len(found) == 1 else None


class _Lower(Lower):
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


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):
    _name = "numbaflux_lowering"

    @property
    def lowering_class(self) -> Any:
        return _Lower


@register_pass(mutates_CFG=True, analysis_only=False)
class _LoweringToLink(_Lowering):
    """The same without machine code and wrappers."""

    _name = "numbaflux_lowering_to_link"

    def run_pass(self, state: Any) -> bool:
        state.library = LinkedCode(state.targetctx.codegen(), state.func_id.func_qualname)
        flags = state.flags
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        return super().run_pass(state)


# Generated code has no closures, `with`, `literally` and no arithmetic of whole arrays.
NEEDLESS = {
    WithLifting,
    InlineClosureLikes,
    DeadBranchPrune,
    MakeFunctionToJitFunction,
    FindLiterallyCalls,
    LiteralUnroll,
    LiteralPropagationSubPipelinePass,
    NopythonRewrites,
}

# ---- their types and code ----------------------------------------------------------------------


def _typed(fn: Any, of: Any) -> None:
    class Template(AbstractTemplate):
        key = fn

        def generic(self, args: Types, kws: Mapping[str, Any]) -> Any:
            made = of(self.context, *args)
            return None if made is None else signature(made, *args)

    infer_global(fn)(Template)


def _array(context: Any, shape: types.Type, dtype: types.Type = types.float64) -> types.Array:
    del context
    parts = tuple_parts(shape)
    ndim = 1 if parts is None else len(parts[0])
    element = dtype if dtype == types.float64 else parse_dtype(dtype)
    return types.Array(element, ndim, "C")


def _under(context: Any, array: types.Array, shape: types.Type) -> types.Array | None:
    del context
    parts = tuple_parts(shape)
    ndim = 1 if parts is None else len(parts[0])
    return array.copy(ndim=ndim) if array.layout == "C" else None


def _number(context: Any, a: types.Type, b: types.Type) -> types.Type:
    return context.unify_pairs(types.unliteral(a), types.unliteral(b))


for _fn in (empty, zeros):
    _typed(_fn, _array)
_typed(reshaped, _under)
for _fn in (least, greatest):
    _typed(_fn, _number)


@lower_builtin(least, types.Any, types.Any)
def _lower_least(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return do_minmax(context, builder, sig.args, args, operator.lt)


@lower_builtin(greatest, types.Any, types.Any)
def _lower_greatest(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return do_minmax(context, builder, sig.args, args, operator.gt)


@lower_builtin(empty, types.Any)
@lower_builtin(empty, types.Any, types.Any)
def _lower_empty(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return _allocate(context, builder, sig.return_type, sig.args[0], args[0])._getvalue()


@lower_builtin(zeros, types.Any)
@lower_builtin(zeros, types.Any, types.Any)
def _lower_zeros(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array = _allocate(context, builder, sig.return_type, sig.args[0], args[0])
    cgutils.memset(builder, array.data, builder.mul(array.itemsize, array.nitems), 0)
    return array._getvalue()


@lower_builtin(reshaped, types.Array, types.Any)
def _lower_reshaped(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """A view, whose shape is constant where it is written so: Numba's own forgets that.

    That there are as many elements as before has been checked; two lengths may be negative yet.
    """
    old = make_array(sig.args[0])(context, builder, args[0])
    dims = _lengths(context, builder, sig.args[1], args[1])
    negative = cgutils.false_bit
    for dim in dims:
        negative = builder.or_(negative, builder.icmp_signed("<", dim, cgutils.intp_t(0)))
    with builder.if_then(negative, likely=False):
        context.call_conv.return_user_exc(builder, ValueError, (NEGATIVE,))
    new = seen_as(context, builder, sig.return_type, old, old.data, dims)
    return impl_ret_borrowed(context, builder, sig.return_type, new)


def _lengths(context: Any, builder: Any, ty: Any, shape: Any) -> list[Any]:
    single = isinstance(ty, types.Integer)
    given = [ty] if single else [*ty]
    dims = [shape] if single else cgutils.unpack_tuple(builder, shape, len(given))
    return [context.cast(builder, d, t, types.intp) for d, t in zip(dims, given)]


def _allocate(context: Any, builder: Any, ty: Any, of: Any, shape: Any, memory: Any = None) -> Any:
    """A new array, with NumPy's errors for a shape that cannot be; `memory`: where it lies.

    A branch for each length: from one of all LLVM does not learn that none is negative.
    """
    dims = _lengths(context, builder, of, shape)
    size = itemsize = cgutils.intp_t(get_itemsize(context, ty))
    strides = []

    def refuse(wrong: Any, message: str) -> None:
        with builder.if_then(wrong, likely=False):
            context.call_conv.return_user_exc(builder, ValueError, (message,))

    for dim in dims:
        refuse(builder.icmp_signed("<", dim, cgutils.intp_t(0)), NEGATIVE)
    too_big = cgutils.false_bit
    for dim in reversed(dims):
        strides.insert(0, size)
        product = builder.smul_with_overflow(size, dim)
        size = builder.extract_value(product, 0)
        too_big = builder.or_(too_big, builder.extract_value(product, 1))
    refuse(too_big, TOO_BIG)
    align = context.get_preferred_array_alignment(ty.dtype)
    fresh = partial(context.nrt.meminfo_alloc_aligned, builder, size, align)
    meminfo = fresh() if memory is None else memory(size, fresh)
    array = make_array(ty)(context, builder)
    data = context.nrt.meminfo_data(builder, meminfo)
    pointer = context.get_data_type(ty.dtype).as_pointer()
    populate_array(array, builder.bitcast(data, pointer), dims, strides, itemsize, meminfo)
    return array


# ---- arrays in a workspace ---------------------------------------------------------------------

LARGE = 1 << 20  # bytes from which on an array is taken from a workspace


class WorkspaceType(types.Opaque):
    """The type of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        super().__init__(f"Workspace({workspace.key})")


register_model(WorkspaceType)(models.OpaqueModel)
typeof_impl.register(Workspace)(lambda workspace, c: WorkspaceType(workspace))


@lower_constant(WorkspaceType)
def _lower_workspace(context: Any, builder: Any, ty: Any, workspace: Any) -> Any:
    return context.get_dummy_value()


@infer_getattr
class _OfWorkspace(AttributeTemplate):
    key = WorkspaceType

    @bound_function("workspace.empty")
    def resolve_empty(self, workspace: Any, args: Types, kws: Any) -> Any:
        return signature(_array(self.context, *args), *args)


@lower_builtin("workspace.empty", WorkspaceType, types.Any)
@lower_builtin("workspace.empty", WorkspaceType, types.Any, types.Any)
def _lower_borrowed(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """An array of a workspace, or if it is small of its own."""

    def memory(size: Any, fresh: Any) -> Any:
        large = builder.icmp_signed(">=", size, cgutils.intp_t(LARGE))
        with builder.if_else(large, likely=False) as (then, otherwise):
            with then:
                taken, there = _taken(context, builder, sig.args[0].workspace, size), builder.block
            with otherwise:
                made, here = fresh(), builder.block
        meminfo = builder.phi(made.type)
        meminfo.add_incoming(taken, there)
        meminfo.add_incoming(made, here)
        return meminfo

    return _allocate(context, builder, sig.return_type, sig.args[1], args[1], memory)._getvalue()


def _taken(context: Any, builder: Any, workspace: Workspace, size: Any) -> Any:
    """workspace.take(size), called with the interpreter's lock; it belongs to who counts it."""
    api = context.get_python_api(builder)
    lock = api.gil_ensure()

    def check(failed: Any) -> None:
        with builder.if_then(failed, likely=False):
            api.gil_release(lock)
            context.call_conv.return_exc(builder)

    owner = api.unserialize(api.serialize_object(workspace))
    check(cgutils.is_null(builder, owner))
    bytes = api.long_from_ssize_t(size)
    array = api.call_method(owner, "take", (bytes,))
    for each in (owner, bytes):
        api.decref(each)
    check(cgutils.is_null(builder, array))
    ty = types.Array(types.uint8, 1, "C")
    native = api.to_native_value(ty, array)
    api.decref(array)
    check(native.is_error)
    api.gil_release(lock)
    return make_array(ty)(context, builder, native.value).meminfo
