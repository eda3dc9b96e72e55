"""Rules of the user's own: `custom_jvp`, `custom_vjp`, and `stop_gradient`.

The rules are functions in Numba's Python like any other, read when a derivative of the function is
taken.  To the reader a function with a rule is a function that has its program at hand
(`numbaflux_program`): one call, `Custom`, that carries the rule.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numba
from numba import types
from numba.extending import overload

from numbaflux.api.dispatcher import numba_type
from numbaflux.errors import NotDifferentiableError, UnsupportedError
from numbaflux.frontend import arrays, read
from numbaflux.ir.build import Builder, const
from numbaflux.ir.nodes import (
    Array,
    Atom,
    Custom,
    Extern,
    Function,
    Print,
    Raise,
    Rules,
    Scalar,
    Var,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.trees import Fixed, Leaf, Program, Tree, Tuple, leaves, map_tree, with_leaves
from numbaflux.ir.walk import callees, walk
from numbaflux.passes.alias import Aliases, written_params
from numbaflux.transforms.memory import copy_array, zeros_like
from numbaflux.transforms.vjp import vjp

Types = tuple[Any, ...]


def custom_jvp(f: Callable, **options: Any) -> Any:
    """`f` with a forward rule of your own: decorate f, then `@f.defjvp` the rule.

    The rule takes (primals, tangents), tuples with an entry for each argument of f (None for the
    tangent of one that is not floating point), and returns (out, tangent). Reverse mode transposes
    it, so the tangent has to be linear in the tangents.

    >>> import math, numbaflux as nf
    >>> @nf.custom_jvp
    ... def log1pexp(x):
    ...     return math.log(1.0 + math.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     x, dx = primals[0], tangents[0]
    ...     return log1pexp(x), dx / (1.0 + math.exp(-x))
    >>> nf.grad(log1pexp)(0.0)
    0.5
    """
    dispatcher = _dispatcher(f, options)

    def defjvp(rule: Callable) -> Callable:
        _attach(dispatcher, _ByJvp(_dispatcher(f, options), _dispatcher(rule, {})))
        return rule

    dispatcher.defjvp = defjvp
    return dispatcher


def custom_vjp(f: Callable, **options: Any) -> Any:
    """`f` with a reverse rule of your own: decorate f, then `f.defvjp(fwd, bwd)`.

    `fwd` takes f's arguments and returns (out, residuals); `bwd` takes (residuals, cotangent of
    out) and returns a tuple with a cotangent for each argument, None where there is none.

    >>> import numbaflux as nf
    >>> @nf.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda kept, ct: (min(max(ct, -1.0), 1.0),))
    >>> nf.grad(lambda x: 100.0 * clipped(x))(2.0)
    1.0
    """
    dispatcher = _dispatcher(f, options)

    def defvjp(fwd: Callable, bwd: Callable) -> None:
        rules = _ByVjp(_dispatcher(f, options), _dispatcher(fwd, {}), _dispatcher(bwd, {}))
        _attach(dispatcher, rules)

    dispatcher.defvjp = defvjp
    return dispatcher


def stop_gradient(x: Any) -> Any:
    """x, with a derivative of zero. An array is copied.

    >>> import numbaflux as nf
    >>> nf.grad(lambda x: x * nf.stop_gradient(x))(3.0)
    3.0
    """
    return x.copy() if hasattr(x, "copy") else x


@overload(stop_gradient)
def _(x):
    if isinstance(x, types.Array):
        return lambda x: x.copy()
    return lambda x: x


def _lower(b: Builder, call: Any) -> Atom:
    (x,) = call.args
    x = arrays.materialise(b, x) if isinstance(x, arrays.Lazy) else x
    if isinstance(x.type, Array):
        result = replace(x.type, layout="C", readonly=False)
        return arrays.elementwise(b, [x], result, lambda b, e: b.prim("stop_gradient", e))
    return b.prim("stop_gradient", x)


stop_gradient.numbaflux_lower = _lower


def _dispatcher(f: Any, options: dict[str, Any]) -> Any:
    """A dispatcher of its own for `f`, so that f itself stays as it was."""
    return numba.njit(getattr(f, "py_func", f), **{**getattr(f, "targetoptions", {}), **options})


def _attach(dispatcher: Any, rules: _ByJvp | _ByVjp) -> None:
    """Let the reader find the rules; what is called meanwhile is the function itself."""
    dispatcher.numbaflux_program = rules.program
    dispatcher.numbaflux_parts = rules.numbaflux_parts
    dispatcher.numbaflux_return_type = lambda ts: numba_type(rules.program(ts).result)


class _Ruled(ABC):
    """A function with rules: its program for given argument types, made once."""

    def __init__(self, primal: Any) -> None:
        self.primal = primal
        self.program = functools.cache(self._program)

    def _program(self, arg_types: Types) -> Program:
        program = read(self.primal, arg_types)
        fn = program.function
        _refuse_writes(fn)
        _refuse_effects(fn)
        params = tuple(Var(p.name, p.type) for p in fn.params)
        results = tuple(Var(fn.name, a.type) for a in fn.results)
        call = Custom(results, self.rules(program, arg_types), params, fn.loc)
        b = Builder(fn.loc)
        b.append(call)
        args = with_leaves(Tuple(tuple(t for _, t in program.args)), params)
        assert isinstance(args, Tuple)
        return Program(
            Function(fn.name, b.block(params, results), fn.loc, fn.options),
            tuple((name, tree) for (name, _), tree in zip(program.args, args.items)),
            with_leaves(program.result, results),
        )

    @abstractmethod
    def rules(self, program: Program, arg_types: Types) -> Rules:
        """What the user has given, as rules for a call with these types."""


class _ByJvp(_Ruled):
    """Rules from a forward rule; reverse mode transposes it."""

    def __init__(self, primal: Any, rule: Any) -> None:
        super().__init__(primal)
        self.rule = rule

    def numbaflux_parts(self) -> tuple[Any, ...]:
        return "custom_jvp", self.primal, self.rule

    def rules(self, program: Program, arg_types: Types) -> Rules:
        fn = program.function
        forward = functools.cache(lambda: self._jvp(program, arg_types))
        return Rules(
            fn.name,
            fn,
            functools.cache(lambda: _keeping_arguments(self.program(arg_types).function)),
            functools.cache(lambda: _transposed(fn, forward())),
            forward,
        )

    def _jvp(self, program: Program, arg_types: Types) -> Function:
        args = [tree for _, tree in program.args]
        tangents = [map_tree(lambda a: Leaf(a) if a.type.is_float else Fixed(), t) for t in args]
        types_of = numba_type(Tuple(tuple(args))), numba_type(Tuple(tuple(tangents)))
        rule = read(self.rule, types_of)
        out, _ = _pair(rule, "a custom_jvp rule returns (out, tangent)")
        results = program.function.results
        floats = [a for a in results if a.type.is_float]
        b, params = Builder(rule.function.loc), _fresh(rule.function)
        found = b.inline(rule.function, params)
        n = len(list(leaves(out)))
        outputs = _like(b, rule, found[:n], results, "out")
        ds = _like(b, rule, found[n:], floats, "the tangent")
        return Function(rule.function.name, b.block(params, [*outputs, *ds]), rule.function.loc)


class _ByVjp(_Ruled):
    """Rules from a forward pass that keeps residuals and a backward pass that uses them."""

    def __init__(self, primal: Any, fwd: Any, bwd: Any) -> None:
        super().__init__(primal)
        self.fwd, self.bwd = fwd, bwd

    def numbaflux_parts(self) -> tuple[Any, ...]:
        return "custom_vjp", self.primal, self.fwd, self.bwd

    def rules(self, program: Program, arg_types: Types) -> Rules:
        kept = functools.cache(lambda: read(self.fwd, arg_types))
        return Rules(
            program.function.name,
            program.function,
            functools.cache(lambda: self._forward(program, kept())),
            functools.cache(lambda: self._backward(program, kept())),
        )

    def _forward(self, program: Program, kept: Program) -> Function:
        out, _ = _pair(kept, "fwd returns (out, residuals)")
        _refuse_effects(kept.function)
        b, params = Builder(kept.function.loc), _fresh(kept.function)
        found = b.inline(kept.function, params)
        n = len(list(leaves(out)))
        outputs = _like(b, kept, found[:n], program.function.results, "out")
        residuals = [_kept(b, a) for a in found[n:]]
        block = b.block(params, [*outputs, *residuals])
        return Function(kept.function.name, block, kept.function.loc)

    def _backward(self, program: Program, kept: Program) -> Function:
        _, residuals = _pair(kept, "fwd returns (out, residuals)")
        residuals = map_tree(lambda a: Leaf(Var("kept", _kept_type(a))), residuals)
        cts = map_tree(lambda a: Leaf(a) if a.type.is_float else Fixed(), program.result)
        rule = read(self.bwd, (numba_type(residuals), numba_type(cts)))
        given = rule.result.items if isinstance(rule.result, Tuple) else ()
        if len(given) != len(program.args):
            raise _bad(rule, "bwd returns a tuple with a cotangent for each argument")
        b, params = Builder(rule.function.loc), _fresh(rule.function)
        out = iter(b.inline(rule.function, params))
        cotangents: list[Atom] = []
        for (_, tree), ct in zip(program.args, given):
            floats = [a for a in leaves(tree) if a.type.is_float]
            found = [next(out) for _ in leaves(ct)]
            if not found and any(isinstance(a.type, Array) for a in floats):
                raise _bad(rule, "bwd returns an array for each array argument")
            found = found or [const(0, a.type) for a in floats]
            cotangents += _like(b, rule, found, floats, "a cotangent")
        return Function(rule.function.name, b.block(params, cotangents), rule.function.loc)


# ---- what has no rule --------------------------------------------------------------------------


def _refuse_writes(fn: Function) -> None:
    alias = Aliases(fn)
    returned = {s for a in fn.results for s in alias.of(a)}
    if written_params(fn) or not returned.isdisjoint(fn.params):
        raise UnsupportedError(
            f"a rule for `{fn.name}`, which writes or returns an argument",
            fn.loc,
            "a rule speaks of results that are new",
            "return a new array",
        )


def _refuse_effects(fn: Function) -> None:
    """Numba's own checks, of a division say, go with the function where a rule replaces it."""
    functions = (fn, *(callee.function for callee in callees(fn)))
    for stmt in (s for each in functions for s in walk(each.block)):
        match stmt:
            case Print():
                what = "prints"
            case Raise(exception=exception, stated=True):
                what = f"raises {exception.__name__}"
            case Extern(routine=routine) if not ROUTINES[routine].pure:
                what = f"draws random numbers (`{routine}`)"
            case _:
                continue
        raise UnsupportedError(
            f"a rule for `{fn.name}`, which {what}",
            stmt.loc,
            "a call with a rule may be left out or made twice, and its effects with it",
            "do this in the function that calls it, and pass what was drawn as an argument",
        )


# ---- pieces ------------------------------------------------------------------------------------


def _keeping_arguments(fn: Function) -> Function:
    """fn that also returns its arguments as they were."""
    b, params = Builder(fn.loc), _fresh(fn)
    kept = [_kept(b, p) for p in params]
    results = b.inline(fn, params)
    return Function(fn.name, b.block(params, [*results, *kept]), fn.loc)


def _transposed(fn: Function, rule: Function) -> Function:
    """(args, cotangents of the float results) -> cotangents of the float args.

    The rule is linear in the tangents, so that its vjp at any tangent, zero say, transposes it.
    """
    n, b = len(fn.params), Builder(rule.loc)
    directions = rule.params[n:]
    of = range(len(fn.results), len(rule.results))
    args = tuple(Var(p.name, p.type) for p in rule.params[:n])
    seeds = tuple(Var("ct", rule.results[i].type) for i in of)
    arrays = [(p, d) for p, d in zip(_floats(args), directions) if isinstance(p.type, Array)]
    zeros = {d: zeros_like(b, p) for p, d in arrays}
    shadows = {d: zeros_like(b, p) for p, d in arrays}
    tangents = [zeros[d] if d in zeros else const(0, d.type) for d in directions]
    inner = vjp(rule, directions, of)
    scalars = iter(
        b.inline(inner, [*args, *tangents, *shadows.values(), *seeds])[len(rule.results) :]
    )
    out = [shadows[d] if d in shadows else next(scalars) for d in directions]
    return Function(rule.name, b.block((*args, *seeds), out), rule.loc)


def _fresh(fn: Function) -> tuple[Var, ...]:
    return tuple(Var(p.name, p.type) for p in fn.params)


def _floats(atoms: Iterable[Var]) -> list[Var]:
    return [a for a in atoms if a.type.is_float]


def _kept_type(a: Atom) -> Any:
    return replace(a.type, layout="C", readonly=False) if isinstance(a.type, Array) else a.type


def _kept(b: Builder, a: Atom) -> Atom:
    """A residual: arrays as copies, since they may change before they are used."""
    return copy_array(b, a, "kept") if isinstance(a.type, Array) else a


def _pair(rule: Program, what: str) -> tuple[Tree, Tree]:
    if not isinstance(rule.result, Tuple) or len(rule.result.items) != 2:
        raise _bad(rule, what)
    first, second = rule.result.items
    return first, second


def _like(
    b: Builder, rule: Program, found: Sequence[Atom], wanted: Sequence[Atom], what: str
) -> list[Atom]:
    """What a rule gave, of the types it should have."""
    ranks = [[a.type.ndim if isinstance(a.type, Array) else 0 for a in s] for s in (found, wanted)]
    if ranks[0] != ranks[1]:
        raise _bad(rule, f"{what} is not structured like what it belongs to")
    return [b.cast(a, w.type) if isinstance(w.type, Scalar) else a for a, w in zip(found, wanted)]


def _bad(rule: Program, why: str) -> NotDifferentiableError:
    return NotDifferentiableError(
        f"the rule `{rule.function.name}` cannot be used",
        rule.function.loc,
        why,
        "see the docstring of numbaflux.custom_jvp and numbaflux.custom_vjp",
    )
