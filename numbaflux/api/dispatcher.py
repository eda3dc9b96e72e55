"""What every transform returns: a Numba dispatcher whose compiler writes a derivative first.

`Derivative` is called from Python exactly like a function that `njit` has made, and from `@njit`
code like any other; only `compile` differs.  Together with the front end the one module that knows
Numba's internals.

note [Adoption]  What compiles a derivative is the ordinary dispatcher of the generated module; the
derivative takes over its compile results and keeps it alive.

note [Guard]  A call that code refuses, since its caches would be too large, goes to the transform's
frugal form.  Looking for it costs 0.1 us a call: what has no such code stops doing so.

note [Integers]  An integer given for a differentiated scalar counts as a float: the function is
read with a float there, and the program gets an integer parameter that is converted first.
"""

# Numba's classes declare few of their attributes.
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportOptionalCall=false

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from numba import typeof
from numba.core import errors, types
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.imputils import lower_builtin
from numba.core.registry import CPUDispatcher
from numba.core.sigutils import normalize_signature
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.core.typing.templates import signature as typing_signature
from numba.np.numpy_support import from_dtype

from numbaflux import frontend
from numbaflux.api import machine_code, pipeline
from numbaflux.api.compiler import lowered, without_collector
from numbaflux.api.fingerprint import fingerprint
from numbaflux.api.linking import adopted, is_linked_only, wrapped
from numbaflux.api.memory import quarter
from numbaflux.debug import after
from numbaflux.errors import (
    InternalError,
    NotDifferentiableError,
    NumbafluxError,
    UnsupportedError,
)
from numbaflux.frontend.callees import inlined
from numbaflux.frontend.values import Known
from numbaflux.ir.build import Builder
from numbaflux.ir.nodes import Array, Block, Loc, Opaque, Prim, Scalar, Type, Var
from numbaflux.ir.trees import Fixed, Leaf, Program, Tree, Tuple, leaves
from numbaflux.transforms.budget import TOO_LARGE

Types = tuple[types.Type, ...]
OPTIONS = ("cache", "fastmath", "error_model", "parallel", "boundscheck", "nogil", "vecmath")


class Transform(Protocol):
    """What a `Derivative` needs to know of a transform; hashable, its repr says all of it."""

    @property
    def name(self) -> str: ...

    def frugal(self) -> Transform | None:
        """The transform for calls in which this one's code would take too much memory."""
        ...

    def primal_types(self, arg_types: Types) -> Types:
        """The types to read the function at, when the derivative is called with these."""
        ...

    def apply(self, program: Program, arg_types: Types) -> Program:
        """The derivative's program."""
        ...

    def signature(self, of: inspect.Signature) -> inspect.Signature:
        """The derivative's Python signature."""
        ...


class Derivative(CPUDispatcher):
    """`transform` of `f`, compiled for each combination of argument types it is called with."""

    def __init__(self, transform: Transform, f: Any, options: Mapping[str, Any]) -> None:
        unknown = [name for name in options if name not in OPTIONS]
        if unknown:
            raise TypeError(
                f"{transform.name}() has no option {unknown[0]!r}; it takes {', '.join(OPTIONS)}"
            )
        if not inspect.isfunction(getattr(f, "py_func", f)):
            way_out = ", write a function around it" if callable(f) else ""
            raise TypeError(f"{transform.name}() takes a function, not {type(f).__name__}{way_out}")
        self.transform = transform
        self.primal = f
        self.options = {**_options_of(f), **options}
        self._inner: dict[Types, Dispatcher] = {}  # note [Adoption]
        self._sources: dict[Types, str] = {}
        self._programs: dict[Types, Program] = {}
        self._reading: set[Types] = set()
        self._called_by_compiled_code = False
        super().__init__(self._python_function(), targetoptions={"nopython": True})
        self._guard()

    def _python_function(self) -> Callable[..., Any]:
        """A Python function with the derivative's name and signature, which calls it."""
        primal = getattr(self.primal, "py_func", self.primal)
        pysig = self.transform.signature(inspect.signature(primal))
        stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
        args = ", ".join(stars.get(p.kind, "") + p.name for p in pysig.parameters.values())
        name = f"{self.transform.name}_{pipeline.identifier(primal.__name__)}"
        text = f"def {name}({args}): return __derivative__({args})"
        names: dict[str, Any] = {"__derivative__": self}
        exec(compile(text, f"<numbaflux {name}>", "exec"), names)
        f = names[name]
        defaults = [p.default for p in pysig.parameters.values() if p.default is not p.empty]
        f.__defaults__ = tuple(defaults) or None
        f.__signature__ = pysig
        f.__module__ = primal.__module__
        doc = f"{self.transform.name} of `{primal.__name__}`"
        f.__doc__ = f"{doc}.\n\n{primal.__doc__}" if primal.__doc__ else f"{doc}."
        return f

    # ---- programs ------------------------------------------------------------------------------

    def numbaflux_program(self, arg_types: Types) -> Program:
        """The derivative's program for these argument types; whoever inlines it clones it."""
        with global_compiler_lock:
            arg_types = tuple(types.unliteral(t) for t in arg_types)
            if arg_types not in self._programs:
                if arg_types in self._reading:
                    raise UnsupportedError(
                        f"`{self.__name__}` inside the function it is the derivative of",
                        _loc_of(self.primal),
                        "the derivative of a function that calls its own derivative never ends",
                        "write the recursion as a loop",
                    )
                self._reading.add(arg_types)
                try:
                    self._programs[arg_types] = self._program(arg_types)
                finally:
                    self._reading.discard(arg_types)
            return self._programs[arg_types]

    def _program(self, arg_types: Types) -> Program:
        primal_types = self.transform.primal_types(arg_types)
        try:
            program = self._primal_program(primal_types)
        except (UnsupportedError, errors.NumbaError) as error:
            self._refuse_integers(primal_types, arg_types, getattr(error, "loc", None))
            raise
        program = adapt(self.transform.apply(program, arg_types), arg_types)
        after(self.transform.name, program.function)
        return program

    def _primal_program(self, primal_types: Types) -> Program:
        if hasattr(self.primal, "numbaflux_program"):
            return self.primal.numbaflux_program(primal_types)
        program = frontend.read(self.primal, primal_types, self.options)
        after("read", program.function)
        return program

    def _refuse_integers(self, primal_types: Types, arg_types: Types, loc: Any) -> None:
        """Say so if the function could be read, were one of its integers not a float."""
        for i, t in enumerate(primal_types):
            if t != types.float64 or not any(_has_integer(a) for a in arg_types):
                continue
            try:
                self._primal_program((*primal_types[:i], types.int64, *primal_types[i + 1 :]))
            except (NumbafluxError, errors.NumbaError):
                continue
            primal = getattr(self.primal, "py_func", self.primal)
            name = list(inspect.signature(primal).parameters)[i]
            raise NotDifferentiableError(
                f"argument `{name}` of `{primal.__name__}` is used as an integer",
                loc if isinstance(loc, Loc) else _loc_of(self.primal),
                "it is to be differentiated, and so counts as a floating point number",
                f"leave {i} out of argnums, or give its tangent as None",
            ) from None

    def numbaflux_return_type(self, arg_types: Types) -> types.Type:
        """Numba's type of the result, without compiling anything."""
        return numba_type(self.numbaflux_program(arg_types).result)

    def numbaflux_parts(self) -> tuple[Any, ...]:
        """What a fingerprint of this object consists of."""
        both = repr(self.transform), repr(self.transform.frugal())
        return *both, self.primal, sorted(self.options.items())

    # ---- compiling -----------------------------------------------------------------------------

    def compile(self, sig: Any) -> Any:
        """The entry point for a signature, generated and compiled if it is not there yet."""
        arg_types, _ = normalize_signature(sig)
        arg_types = tuple(arg_types)
        with global_compiler_lock:
            known = result = self.overloads.get(arg_types)
            if result is None and not self._can_compile:
                raise RuntimeError("compilation disabled")
            with without_collector():
                result = result or self._compile(arg_types)
                if not self._called_by_compiled_code:
                    result = self._wrapped(result)
            if result is not known:
                self.add_overload(result)
            self._guard()
            return result.entry_point

    def _guard(self) -> None:
        """Be called as a guarded derivative as long as some code may refuse.  note [Guard]"""
        refusing = any(TOO_LARGE in source for source in self._sources.values())
        unknown = not self._sources and self.transform.frugal() is not None
        self.__class__ = _Guarded if refusing or unknown else Derivative

    def _wrapped(self, result: CompileResult) -> CompileResult:
        """A result that Python can call."""
        if not is_linked_only(result):
            return result
        return wrapped(result, bool(self.options.get("nogil")))

    def add_overload(self, result: CompileResult) -> None:
        """Remember a result, and let Python call it if it can be called."""
        if is_linked_only(result):
            self.overloads[tuple(result.signature.args)] = result
        else:
            super().add_overload(result)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What a caller in compiled code is typed by; it links the derivative."""
        with global_compiler_lock:
            before, self._called_by_compiled_code = self._called_by_compiled_code, True
            try:
                return super().get_call_template(args, kws)
            finally:
                self._called_by_compiled_code = before

    def get_compile_result(self, sig: Any) -> Any:
        """The result for a signature whose function is called by its address."""
        self.compile(sig)
        return super().get_compile_result(sig)

    def _compile(self, arg_types: Types) -> Any:
        key = None
        if self.options.get("cache"):
            key = fingerprint(self, arg_types, self.targetctx.codegen().magic_tuple())
            kept = key and pipeline.load_code(self.__name__, key)
            found = kept and machine_code.load(kept, self.targetctx, arg_types)
            if found:
                self._cache_hits[arg_types] += 1
                result, self._sources[arg_types] = found
                return result
        generated, result = self._generate(arg_types, key)
        if key is not None and generated.kept:
            self._cache_misses[arg_types] += 1
            result = self._wrapped(result)
            data = machine_code.dump(result, generated.text)
            if data is not None:
                pipeline.save_code(self.__name__, key, data)
        return result

    def _generate(
        self, arg_types: Types, key: str | None
    ) -> tuple[pipeline.Generated, CompileResult]:
        """The derivative written and compiled."""
        program = self.numbaflux_program(arg_types)
        if program.compiled is not None:
            program = adapt(program.compiled(), arg_types)
            after(self.transform.name, program.function)
        budget = quarter() if self.transform.frugal() else None
        generated = pipeline.generate(self.__name__, program, self.options, key, budget)
        inner = generated.function
        try:
            result = adopted(lowered(inner, arg_types))
        except errors.NumbaError as error:
            raise InternalError(
                f"the code generated for `{self.__name__}` does not compile: {generated.path}\n"
                f"{error}\n{generated.text}"
            ) from error
        self._inner[arg_types] = inner
        self._sources[arg_types] = generated.text
        return generated, result

    def _compile_for_args(self, *args: Any, **kwargs: Any) -> Any:
        """Called by Numba's C code for argument types that are new."""
        try:
            return super()._compile_for_args(*args, **kwargs)
        except NumbafluxError as error:
            raise error.with_traceback(None) from None

    def source(self, *args: Any, **kwargs: Any) -> str:
        """The code generated for these arguments."""
        bound = inspect.signature(self.py_func).bind(*args, **kwargs)
        given = tuple(typeof(value) for value in bound.args)
        named = {name: typeof(value) for name, value in bound.kwargs.items()}
        _, arg_types = self.fold_argument_types(given, named)
        try:
            self.compile(tuple(arg_types))
        except NumbafluxError as error:
            raise error.with_traceback(None) from None
        return self._sources[tuple(arg_types)]

    # ---- pickling ------------------------------------------------------------------------------

    def _reduce_states(self) -> dict[str, Any]:
        return {
            "uuid": str(self._uuid),
            "transform": self.transform,
            "f": self.primal,
            "options": self.options,
        }

    @classmethod
    def _rebuild(cls, uuid: str, transform: Transform, f: Any, options: dict) -> Derivative:
        if uuid in cls._memo:
            return cls._memo[uuid]
        self = cls(transform, f, options)
        self._set_uuid(uuid)
        return self


class _Guarded(Derivative):
    """One whose code does not start where its caches would be too large."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except MemoryError as error:
            if error.args != (TOO_LARGE,):
                raise
        return self._frugal(*args, **kwargs)

    @functools.cached_property
    def _frugal(self) -> Derivative:
        transform = self.transform.frugal()
        assert transform is not None
        return Derivative(transform, self.primal, self.options)


def source(derivative: Derivative, *args: Any, **kwargs: Any) -> str:
    """The Python code generated for a derivative called with these arguments."""
    if not isinstance(derivative, Derivative):
        raise TypeError(f"source() takes what a transform returned, not {derivative!r}")
    return derivative.source(*args, **kwargs)


def _options_of(f: Any) -> dict[str, Any]:
    """The options of a compiled function that its derivative takes over."""
    if isinstance(f, Derivative):
        return f.options
    if not isinstance(f, Dispatcher):
        return {}
    found = {name: value for name, value in f.targetoptions.items() if name in OPTIONS}
    if not isinstance(f._cache, NullCache):
        found["cache"] = True
    return found


def _loc_of(f: Any) -> Loc:
    code = getattr(f, "py_func", f).__code__
    return Loc(code.co_filename, code.co_firstlineno, code.co_name)


def _has_integer(ty: types.Type) -> bool:
    if isinstance(ty, types.BaseTuple):
        return any(_has_integer(t) for t in ty)
    return isinstance(ty, types.Integer)


# ---- types -------------------------------------------------------------------------------------


def adapt(program: Program, arg_types: Types) -> Program:
    """The program with parameters of the types it is called with.  note [Integers]"""
    b = Builder(program.function.loc)
    args = tuple((name, _adapted(b, tree, ty)) for (name, tree), ty in zip(program.args, arg_types))
    fn = program.function
    params = tuple(a for _, tree in args for a in leaves(tree) if isinstance(a, Var))
    block = Block(params, (*b.stmts, *fn.block.stmts), fn.block.yields)
    return replace(program, function=replace(fn, block=block), args=args)


def _adapted(b: Builder, tree: Tree, ty: types.Type) -> Tree:
    match tree, types.unliteral(ty):
        case Leaf(Var(name, Scalar() as want) as v), types.Integer() | types.Float() as given:
            outer = Var(name, Scalar(str(given)))
            if outer.type == want:
                return tree
            b.append(Prim(v, "cast", (outer,), b.loc))
            return Leaf(outer)
        case Tuple(items, cls), types.BaseTuple(types=given):
            return Tuple(tuple(_adapted(b, i, t) for i, t in zip(items, given)), cls)
        case _:
            return tree


def numba_type(tree: Tree) -> Any:
    """Numba's type of what a tree stands for."""
    match tree:
        case Leaf(atom):
            return _numba_type(atom.type)
        case Tuple(items, cls):
            return types.BaseTuple.from_types(tuple(numba_type(i) for i in items), cls)
        case Fixed(value):
            return typeof(value)


def _numba_type(ty: Type) -> Any:
    match ty:
        case Scalar():
            return from_dtype(ty.numpy)
        case Array(element, ndim, layout):
            return types.Array(_numba_type(element), ndim, layout, readonly=ty.readonly)
        case Opaque(numba=known):
            assert isinstance(known, types.Type)
            return known


# ---- transforms inside @njit -------------------------------------------------------------------


def register_transform(fn: Callable[..., Any], make: Callable[..., Derivative]) -> None:
    """Let `fn(f, ...)` be called in `@njit` code; `make(f, ...)` gives the derivative.

    The options must be constants there. The result's type says which derivative it is, so the call
    is resolved while typing and nothing is left of it at run time.
    """
    pysig = _without_keywords(inspect.signature(fn))

    def typed(context: Any, args: Types, kws: Mapping[str, types.Type]) -> Any:
        bound = pysig.bind(*args, **kws).arguments
        (_, f), *options = bound.items()
        derivative = make(_function(fn, f), **{name: _constant(fn, name, t) for name, t in options})
        return types.Dispatcher(derivative), _ordered(pysig, bound)

    def lowered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.get_dummy_value()

    _register(fn, pysig, typed, lowered)
    fn.numbaflux_lower = lambda b, call: Known(call.type.dispatcher)


def register_call(fn: Callable[..., Any], make: Callable[[Any], Derivative]) -> None:
    """Let `fn(f, ...)` in `@njit` code mean `make(f)(...)`."""
    pysig = _without_keywords(inspect.signature(fn))

    def typed(context: Any, args: Types, kws: Mapping[str, types.Type]) -> Any:
        ordered = _ordered(pysig, pysig.bind(*args, **kws).arguments)
        f, *rest = ordered
        callee = types.Dispatcher(make(_function(fn, f)))
        sig = callee.get_call_type(context, tuple(rest), {})
        return sig.return_type, (f, *sig.args)

    def lowered(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        callee = types.Dispatcher(make(_function(fn, sig.args[0])))
        inner = callee.get_call_type(context.typing_context, sig.args[1:], {})
        return context.get_function(callee, inner)(builder, args[1:])

    def read(b: Builder, call: Any) -> Any:
        signature = call.signature.replace(args=call.signature.args[1:])
        derivative = make(_function(fn, call.signature.args[0]))
        args = pysig.bind(*call.args, **call.kwargs).args
        return inlined(
            call.context, derivative, replace(call, args=args[1:], kwargs={}, signature=signature)
        )

    _register(fn, pysig, typed, lowered)
    fn.numbaflux_lower = read


def _register(fn: Any, pysig: inspect.Signature, typed: Any, lowered: Any) -> None:
    """Make a Python function known to Numba, by how it is typed and how it is lowered."""

    class Template(AbstractTemplate):
        key = fn
        prefer_literal = True

        def generic(self, args: Types, kws: Mapping[str, types.Type]) -> Any:
            try:
                result, ordered = typed(self.context, args, kws)
            except TypeError as error:
                if isinstance(error, NumbafluxError):
                    raise
                raise errors.TypingError(f"{fn.__name__}: {error}") from error
            return typing_signature(result, *ordered).replace(pysig=pysig)

    infer_global(fn)(Template)
    lower_builtin(fn, types.VarArg(types.Any))(lowered)


def _without_keywords(pysig: inspect.Signature) -> inspect.Signature:
    """The signature without **options, which Numba cannot pass."""
    kept = [p for p in pysig.parameters.values() if p.kind is not p.VAR_KEYWORD]
    return pysig.replace(parameters=kept)


def _ordered(pysig: inspect.Signature, bound: Mapping[str, types.Type]) -> Types:
    """A type for each parameter, the defaults too."""
    return tuple(
        bound[name] if name in bound else types.Omitted(p.default)
        for name, p in pysig.parameters.items()
    )


def _function(fn: Any, ty: types.Type) -> Any:
    """The function that a type stands for."""
    if isinstance(ty, types.Dispatcher):
        return ty.dispatcher
    raise errors.TypingError(
        f"{fn.__name__}(f) inside @njit: f is {ty}, not a function compiled with @njit"
    )


def _constant(fn: Any, name: str, ty: types.Type) -> Any:
    """The value of an argument that must be known while compiling."""
    match ty:
        case types.Literal():
            return ty.literal_value
        case types.Omitted():
            return ty.value
        case types.NoneType():
            return None
        case types.BaseTuple():
            return tuple(_constant(fn, name, t) for t in ty)
        case _:
            raise errors.TypingError(
                f"{fn.__name__}: {name} must be a constant inside @njit, it is {ty}"
            )
