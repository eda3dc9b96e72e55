"""From a user's function and the types of its arguments to a program of the IR."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

from numba.core import types

from numbaflux.errors import UnsupportedError
from numbaflux.frontend.lower import whole
from numbaflux.frontend.session import Session, dispatcher_of, folded
from numbaflux.ir.nodes import (
    Accumulate,
    Alloc,
    Array,
    Atomic,
    Barrier,
    Block,
    Extern,
    Function,
    Opaque,
    Prim,
    Shuffle,
    Stmt,
)
from numbaflux.ir.ops import THREADS, VOTES
from numbaflux.ir.trees import Fixed, Program
from numbaflux.ir.walk import callees, map_regions, walk


def read(
    f: Any, arg_types: tuple[types.Type, ...], options: dict[str, Any] | None = None
) -> Program:
    """The program of a plain function or dispatcher for arguments of the given Numba types.

    `options` are Numba's compiler options for a plain function, and add to a dispatcher's own.
    Raises UnsupportedError where the function uses what has no derivative here.
    """
    py_func, dispatcher = dispatcher_of(f)
    options = {**getattr(f, "targetoptions", {}), **(options or {})}
    arg_types = folded(inspect.signature(py_func), tuple(arg_types))
    session = Session()
    with session.reading(py_func, arg_types, dispatcher, options) as typed:
        return whole(typed, session, options)


def read_kernel(f: Any, arg_types: tuple[types.Type, ...], block: tuple[int, int, int]) -> Program:
    """The program of a CUDA kernel, jitted or not: what each of the threads of a `block` runs.

    Its array arguments are taken to be apart in memory, which whoever launches it checks.
    Raises UnsupportedError for what is no kernel.
    """
    program = read(getattr(f, "py_func", f), arg_types, {"error_model": "numpy"})
    fn = program.function
    if program.result != Fixed(None):
        raise UnsupportedError(
            f"the kernel `{fn.name}` returns a value", fn.loc,
            "nobody receives it", "write it into an array",
        )  # fmt: skip
    for p in fn.params:
        if isinstance(p.type, Opaque):
            raise UnsupportedError(
                f"the argument `{p.name}` of the kernel `{fn.name}`, of type {p.type}", fn.loc,
                "a kernel takes numbers and arrays", "pass a number that stands for it",
            )  # fmt: skip
    _check_callees(fn)
    apart = tuple(frozenset((p,)) for p in fn.params if isinstance(p.type, Array))
    return replace(program, function=_with_its_own_first(replace(fn, apart=apart, kernel=block)))


def _check_callees(fn: Function) -> None:
    """A function that calls itself stays a function, which knows nothing of threads."""
    for callee in callees(fn):
        for stmt in walk(callee.function.block):
            if _of_threads(stmt):
                raise UnsupportedError(
                    f"a thread's number, or what threads do together, in `{callee.name}`, which "
                    "calls itself", stmt.loc, "it is a function of its own, of one thread",
                    "pass it the numbers that it needs; let threads meet outside of it",
                )  # fmt: skip


def _of_threads(stmt: Stmt) -> bool:
    """Whether a statement means something only in a kernel. note [Threads] in nodes.py"""
    match stmt:
        case Barrier() | Atomic() | Shuffle():
            return True
        case Prim(op=op):
            return op in THREADS
        case Extern(routine=routine):
            return routine in VOTES
        case Alloc(space=space):
            return bool(space)
        case Accumulate(atomic=atomic):
            return atomic
        case _:
            return False


def _with_its_own_first(fn: Function) -> Function:
    """The kernel with its arrays and its thread's numbers at its beginning: both are there once."""
    first: list[Stmt] = []

    def visit(block: Block) -> Block:
        stmts: list[Stmt] = []
        for stmt in block.stmts:
            made = map_regions(stmt, visit)
            once = isinstance(made, Alloc) and made.space in ("shared", "local")
            once |= isinstance(made, Prim) and made.op in THREADS
            (first if once else stmts).append(made)
        return replace(block, stmts=tuple(stmts))

    block = visit(fn.block)
    return replace(fn, block=replace(block, stmts=(*first, *block.stmts)))
