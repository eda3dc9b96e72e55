"""From a Python function to Numba's typed statements: half of Numba's own compilation.

Numba's untyped pipeline and its type inference run as ever, then a last pass takes what they found
and leaves.  Nothing is compiled: while a capture runs, the functions that are called are typed by
capturing them in turn.

note [Typing]  `Dispatcher.get_call_template` compiles the callee to learn its result type.  It is
replaced during a capture, for the thread that captures.  Functions of Numba's own that implement
NumPy's are dispatchers too; one that cannot be captured is compiled.  `get_overload` is asked for
the machine code of such a function, which is wanted when the caller is lowered: a caller that is,
has typed it before, and what it got stays.
note [Plain]  A plain Python function that captured code refers to is read as if it were jitted.
note [Recursion]  Numba types a call of a function to itself only if it knows that it is compiling
that function, which is what `_compiling_counter` tells it.  Called with other types than those it
is being compiled for, it would have to be compiled to be typed: it is captured for them instead.
"""

from __future__ import annotations

import linecache
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

from numba import njit
from numba.core import errors, ir, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder, Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import AnalysisPass, FunctionPass, register_pass
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target
from numba.core.typed_passes import NopythonTypeInference
from numba.core.typeinfer import TypeInferer
from numba.core.typing.templates import make_concrete_template, signature
from numba.core.untyped_passes import TranslateByteCode

from numbaflux.errors import InternalError, NumbafluxError
from numbaflux.frontend import kernels
from numbaflux.frontend.refusals import refusal
from numbaflux.ir.nodes import Loc

Types = tuple[types.Type, ...]

OWN_OPTIONS = {"cache", "vecmath", "workspace"}  # options that are not options of the compiler


@dataclass(frozen=True)
class Typed:
    """A function as Numba sees it after type inference, phis included."""

    py_func: Any
    blocks: dict[int, ir.Block]
    typemap: dict[str, types.Type]
    calltypes: dict[Any, Any]
    return_type: types.Type
    arg_types: Types
    arg_names: tuple[str, ...]
    func_ir: ir.FunctionIR
    loc: Loc


def capture(
    py_func: Any,
    arg_types: Types,
    targetoptions: Mapping[str, Any] | None = None,
    dispatcher: Dispatcher | None = None,
    run: Run | None = None,
) -> Typed:
    """The typed statements of a function, one Numba type for each of its parameters.

    `types.Omitted(value)` is the type of a default, a `StarArgTuple` that of `*args`.
    Captures that share a `run` capture no function twice.
    """
    with global_compiler_lock, _capturing(run or Run()) as run:
        run.failures.clear()
        try:
            return run.capture(dispatcher or plain(py_func), py_func, arg_types, targetoptions)
        except NumbafluxError:
            raise
        except ERRORS as error:
            inner = run.failures[-1] if run.failures else _Failure(py_func, error)
            if isinstance(inner.error, NumbafluxError):
                raise inner.error from None
            raise refusal(inner.error, inner.py_func, def_loc(inner.py_func)) from error


ERRORS = (errors.NumbaError, errors.UnsupportedBytecodeError, NotImplementedError)


def loc_of(loc: ir.Loc, function: Any) -> Loc:
    """A place of Numba's in `function` (or the function of that name) as one of ours."""
    return Loc(loc.filename, loc.line, getattr(function, "__name__", function))


def def_loc(py_func: Any) -> Loc:
    """The line of a function's `def`, below its decorators."""
    code = py_func.__code__
    line = code.co_firstlineno
    while (text := linecache.getline(code.co_filename, line).strip()).startswith("@"):
        line += 1
    found = text.startswith(("def ", "async def ")) or "lambda" in text
    return Loc(code.co_filename, line if found else code.co_firstlineno, py_func.__name__)


# ---- one capture and those inside it -----------------------------------------------------------


@dataclass(frozen=True)
class _Failure:
    """What stopped the capture of a callee."""

    py_func: Any
    error: Exception


@dataclass
class Run:
    """What a capture and those of its callees share.

    `known`: what has been captured, unless it is part of a recursion that is still being typed.
    """

    known: dict[Any, Typed] = field(default_factory=dict)
    recursions: int = 0
    users: dict[int, Dispatcher] = field(default_factory=dict)  # by identity, kept alive
    results: dict[tuple[Any, Types], types.Type] = field(default_factory=dict)
    reading: dict[Any, Dispatcher] = field(default_factory=dict)  # by Python function
    failures: list[_Failure] = field(default_factory=list)
    suspended: int = 0

    def capture(
        self, dispatcher: Dispatcher, py_func: Any, arg_types: Types, options: Any = None
    ) -> Typed:
        given = dispatcher.targetoptions if options is None else options
        key = dispatcher, tuple(arg_types), repr(sorted(given.items()))
        if key in self.known:
            return self.known[key]
        before = self.recursions
        typed = self._capture(dispatcher, py_func, arg_types, given)
        if self.recursions == before:
            self.known[key] = typed
        return typed

    def _capture(self, dispatcher: Dispatcher, py_func: Any, arg_types: Types, given: Any) -> Typed:
        self.meet(arg_types)
        flags: Any = Flags()
        cpu_target.options.parse_as_flags(
            flags, {k: v for k, v in given.items() if k not in OWN_OPTIONS}
        )
        flags.nrt = True
        compiler = _Compiler(
            cpu_target.typing_context, cpu_target.target_context, None, arg_types, None, flags, {}
        )
        with dispatcher._compiling_counter, self.within(py_func, dispatcher):  # note [Recursion]
            try:
                compiler.compile_extra(py_func)
            except _Captured as captured:
                return _typed(py_func, arg_types, captured.state)
        raise InternalError(f"the pipeline for `{py_func.__name__}` came to its end")

    @contextmanager
    def within(self, py_func: Any, dispatcher: Dispatcher) -> Iterator[None]:
        outer = dict(self.reading)
        self.reading[py_func] = dispatcher
        try:
            yield
        finally:
            self.reading = outer

    def stand_in(self, context: Any, value: Any) -> Any:
        """The dispatcher to read in place of a value, if there is one.  note [Plain]"""
        if kernels.is_kernel(value):
            return plain(value.py_func)
        f = value.py_func if isinstance(value, Dispatcher) else value
        if not isinstance(f, FunctionType) or hasattr(value, "numbaflux_program"):
            return None
        if f in self.reading:
            self.recursions += 1
            return self.reading[f]
        return plain(f) if f is value and _is_unknown(context, f) else None

    def return_type(self, dispatcher: Dispatcher, arg_types: Types) -> types.Type:
        """What a function of the user's returns."""
        known = getattr(dispatcher, "numbaflux_return_type", None)
        key = (dispatcher, arg_types)
        if key not in self.results:
            before = len(self.failures)
            try:
                if known is not None:
                    self.results[key] = known(arg_types)
                else:
                    typed = self.capture(dispatcher, dispatcher.py_func, arg_types)
                    self.results[key] = typed.return_type
            except errors.ForceLiteralArg:
                raise
            except (*ERRORS, NumbafluxError) as error:
                if len(self.failures) == before:
                    self.failures.append(_Failure(dispatcher.py_func, error))
                if isinstance(error, errors.NumbaError):
                    raise
                raise errors.TypingError(str(error)) from error
            del self.failures[before:]
        return self.results[key]

    def of_numba(self, dispatcher: Dispatcher, arg_types: Types) -> types.Type | None:
        """What a function of Numba's own returns, if it can be typed without being compiled."""
        if arg_types in dispatcher.overloads:
            return None
        before = len(self.failures)
        try:
            return self.capture(dispatcher, dispatcher.py_func, arg_types).return_type
        except (*ERRORS, NumbafluxError):
            del self.failures[before:]
            return None

    def meet(self, value: Any) -> None:
        """Remember the functions of the user's in a value, a type, or a tuple of them."""
        if isinstance(value, types.Dispatcher):
            value = value.dispatcher
        if isinstance(value, Dispatcher):
            self.users[id(value)] = value
        items: Any = value if isinstance(value, tuple | types.BaseTuple) else ()
        for item in items:
            self.meet(item)


def _typed(py_func: Any, arg_types: Types, state: Any) -> Typed:
    return Typed(
        py_func=py_func,
        blocks=state.func_ir.blocks,
        typemap=state.typemap,
        calltypes=state.calltypes,
        return_type=state.return_type,
        arg_types=tuple(arg_types),
        arg_names=tuple(state.func_ir.arg_names),
        func_ir=state.func_ir,
        loc=def_loc(py_func),
    )


_local = threading.local()


def _active() -> Run | None:
    """The capture that this thread is in, unless it is compiling something meanwhile."""
    run: Run | None = getattr(_local, "run", None)
    return None if run is None or run.suspended else run


@contextmanager
def _capturing(run: Run) -> Iterator[Run]:
    """Within, callees are captured, not compiled.  note [Typing]"""
    active = _active()
    if active is not None:
        yield active
        return
    outer, _local.run = getattr(_local, "run", None), run
    template, compile_ = Dispatcher.__dict__.get("get_call_template"), Dispatcher.compile
    overload = Dispatcher.__dict__.get("get_overload")
    Dispatcher.get_call_template = _get_call_template(Dispatcher.get_call_template)
    Dispatcher.get_overload = _get_overload(Dispatcher.get_overload)
    Dispatcher.compile = _suspending(Dispatcher.compile)
    TypeInferer.resolve_call = _resolve_call
    try:
        with warnings.catch_warnings():
            # they are about the user's code, and said when Numba compiles it
            warnings.simplefilter("ignore", errors.NumbaWarning)
            yield run
    finally:
        TypeInferer.resolve_call = _resolve_originally
        Dispatcher.compile = compile_
        for name, own in ("get_call_template", template), ("get_overload", overload):
            if own is None:
                delattr(Dispatcher, name)
            else:
                setattr(Dispatcher, name, own)
        _local.run = outer


def _get_call_template(original: Callable[..., Any]) -> Callable[..., Any]:
    def get_call_template(self: Dispatcher, args: Any, kws: Any) -> Any:
        run = _active()
        if run is None:
            return original(self, args, kws)
        pysig, folded = self.fold_argument_types(args, kws)
        ours = hasattr(self, "numbaflux_program") or id(self) in run.users
        result = run.return_type(self, tuple(folded)) if ours else run.of_numba(self, tuple(folded))
        if result is None:
            return original(self, args, kws)
        name = self.py_func.__name__
        template = make_concrete_template(
            f"CallTemplate({name})", name, [signature(result, *folded)]
        )
        return template, pysig, folded, {}

    return get_call_template


def _get_overload(original: Callable[..., Any]) -> Callable[..., Any]:
    def get_overload(self: Dispatcher, sig: Any) -> Any:
        known = _active() is None or tuple(sig) in self.overloads
        return original(self, sig) if known else None

    return get_overload


_resolve_originally = TypeInferer.resolve_call


def _resolve_call(self: TypeInferer, fnty: Any, pos_args: Any, kw_args: Any) -> Any:
    """note [Recursion]"""
    run = _active()
    if run is not None and isinstance(fnty, types.RecursiveCall):
        run.recursions += 1
        dispatcher = fnty.dispatcher_type.dispatcher
        _, folded = dispatcher.fold_argument_types(pos_args, kw_args)
        if self.context.callstack.match(dispatcher.py_func, folded) is None:
            return self.context.resolve_function_type(fnty.dispatcher_type, pos_args, kw_args)
    return _resolve_originally(self, fnty, pos_args, kw_args)


def _suspending(original: Callable[..., Any]) -> Callable[..., Any]:
    def compile(self: Dispatcher, sig: Any) -> Any:
        run = getattr(_local, "run", None)
        if run is None:
            return original(self, sig)
        run.suspended += 1
        try:
            return original(self, sig)
        finally:
            run.suspended -= 1

    return compile


# ---- the pipeline ------------------------------------------------------------------------------


class _Captured(BaseException):
    """Carries the state out of the pipeline; Numba handles every Exception itself."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state


@register_pass(mutates_CFG=False, analysis_only=False)
class _EnterNamespace(FunctionPass):
    """Put our namespace in the place of CUDA's, before Numba looks into it."""

    _name = "numbaflux_enter_namespace"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        func_ir, changed = state.func_ir, False
        for block in func_ir.blocks.values():
            body = []
            for stmt in block.body:
                value = _value(func_ir, stmt.value) if isinstance(stmt, ir.Assign) else None
                loc = loc_of(stmt.loc, state.func_id.func)
                own = kernels.stand_in(value, loc)
                if value is None and isinstance(stmt, ir.Assign):
                    _check_attribute(func_ir, stmt.value, loc)
                if own is None:
                    body.append(stmt)
                    continue
                changed = True
                body += self._replaced(func_ir, stmt, own)
            block.body = body
        return changed

    def _replaced(self, func_ir: ir.FunctionIR, stmt: ir.Assign, own: Any) -> list[ir.Assign]:
        """The assignment of a value of our namespace; of what an index is, by a call."""
        known = ir.Global("cuda", own, stmt.loc)
        if own not in kernels.INDICES:
            made = [ir.Assign(known, stmt.target, stmt.loc)]
        else:
            function = _scope(stmt).redefine(f"${own.__name__}", stmt.loc)
            call = ir.Expr.call(function, (), (), stmt.loc)
            made = [
                ir.Assign(known, function, stmt.loc),
                ir.Assign(call, stmt.target, stmt.loc),
            ]
        for each in made:
            func_ir._definitions[each.target.name] = [each.value]
        return made


def _check_attribute(func_ir: ir.FunctionIR, e: Any, loc: Loc) -> None:
    match e:
        case ir.Expr(op="getattr"):
            kernels.check_attribute(_definition(func_ir, e.value), e.attr, loc)
        case _:
            pass


@register_pass(mutates_CFG=False, analysis_only=False)
class _MeetFunctions(FunctionPass):
    """Note the user's functions, and make dispatchers of plain ones.  note [Plain]"""

    _name = "numbaflux_meet_functions"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        run: Run = _local.run
        func_ir, changed = state.func_ir, False
        for block in func_ir.blocks.values():
            for stmt in block.body:
                if not isinstance(stmt, ir.Assign):
                    continue
                value = _value(func_ir, stmt.value)
                dispatcher = run.stand_in(state.typingctx, value)
                if dispatcher is not None and dispatcher is not value:
                    stmt.value = ir.Global(dispatcher.py_func.__name__, dispatcher, stmt.loc)
                    func_ir._definitions[stmt.target.name] = [stmt.value]
                    value, changed = dispatcher, True
                run.meet(value)
        return changed


@register_pass(mutates_CFG=False, analysis_only=True)
class _Capture(AnalysisPass):
    _name = "numbaflux_capture"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        raise _Captured(state)


class _Compiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        pm = DefaultPassBuilder.define_untyped_pipeline(self.state, "numbaflux")
        if self.state.func_ir is None:  # it starts from bytecode
            pm.add_pass_after(_EnterNamespace, TranslateByteCode)
        pm.add_pass(_MeetFunctions, "meet functions")
        pm.add_pass(NopythonTypeInference, "type inference")
        pm.add_pass(_Capture, "capture")
        pm.finalize()
        return [pm]


def _scope(stmt: ir.Assign) -> ir.Scope:
    scope = stmt.target.scope
    assert scope is not None
    return scope


def _value(func_ir: ir.FunctionIR, e: Any) -> Any:
    """The object that a global, a free variable or an attribute of a module stands for."""
    match e:
        case ir.Global(value=value) | ir.FreeVar(value=value) | ir.Const(value=value):
            return value
        case ir.Expr(op="getattr"):
            owner = _definition(func_ir, e.value)
            return getattr(owner, e.attr, None) if isinstance(owner, ModuleType) else None
        case _:
            return None


def _definition(func_ir: ir.FunctionIR, v: ir.Var) -> Any:
    found = func_ir._definitions.get(v.name, [])
    return _value(func_ir, found[0]) if len(found) == 1 else None


def _is_unknown(context: Any, f: Any) -> bool:
    """Whether a Python function is one that Numba has no implementation of its own for."""
    try:
        context.resolve_value_type(f)
    except (errors.NumbaError, ValueError):
        return True
    return False


_plain: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def plain(py_func: Any) -> Any:
    """The dispatcher that stands for a plain Python function.  note [Plain]"""
    if py_func not in _plain:
        _plain[py_func] = njit(py_func)
    return _plain[py_func]
