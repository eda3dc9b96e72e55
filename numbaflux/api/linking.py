"""Machine code for whoever needs it: Python does, a caller in compiled code does not.

Numba optimises every function, makes machine code of it and wraps it for Python.  A caller in
compiled code uses none of this: it links the function's LLVM code, and optimises it again as a part
of its own.  A generated function stays as it was lowered, ready to be linked; it is made into
machine code, with its wrappers, when somebody asks for it.
"""

# Numba's classes declare few of their attributes.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core import types
from numba.core.codegen import CodeLibrary, JITCodeLibrary
from numba.core.compiler import CompileResult


class LinkedCode(JITCodeLibrary):
    """LLVM code that is not optimised before it is part of something else.

    `whole`: that code and its wrappers as machine code, once somebody has asked for it.
    """

    whole: CodeLibrary | None = None

    def _optimize_functions(self, ll_module: Any) -> None:
        """LLVM's first level: what comes after it starts again, and does more."""
        ll_module.data_layout = self._codegen._data_layout
        for function in ll_module.functions:
            if not function.is_declaration:
                passes, builder = self._codegen._function_pass_manager(opt=1)
                passes.run(function, builder)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _Unwrapped:
    """Stands for the entry point of a function that Python has not called: Numba finds it by it."""


def is_linked_only(result: CompileResult) -> bool:
    """Whether a function has no entry point for Python yet."""
    return isinstance(result.entry_point, _Unwrapped)


def adopted(result: CompileResult) -> CompileResult:
    """A result as a derivative's own: those with the same text share the code, not what it is
    known by, which goes with the derivative."""
    context, descriptor, environment = result.target_context, result.fndesc, result.environment
    if isinstance(result.library, LinkedCode):
        name = context.get_env_name(descriptor)
        if not context.codegen()._engine.is_symbol_defined(name):
            _define(context.codegen(), name)
        context.codegen().set_env(name, environment)
        entry = _Unwrapped()
    else:  # Numba's own pipeline has compiled it, for threads
        entry = context.get_executable(result.library, descriptor, environment)
    context.insert_user_function(entry, descriptor, [result.library])
    return result._replace(entry_point=entry)


def wrapped(result: CompileResult, release_gil: bool) -> CompileResult:
    """An adopted result with an entry point for Python; callers go on linking."""
    context, descriptor, linked = result.target_context, result.fndesc, result.library
    whole = linked.whole = linked.whole or _whole(result, release_gil)
    entry = context.get_executable(whole, descriptor, result.environment)
    context.insert_user_function(entry, descriptor, [linked])
    context.remove_user_function(result.entry_point)
    again = list(whole._reload_init)  # what another process has to do before it runs the code
    return result._replace(entry_point=entry, library=whole, reload_init=again)


def _whole(result: CompileResult, release_gil: bool) -> CodeLibrary:
    """The code and its wrappers, for Python and for who calls by address, as Numba makes them."""
    context, descriptor, environment = result.target_context, result.fndesc, result.environment
    library: CodeLibrary = context.codegen().create_library(result.library.name)
    library.enable_object_caching()
    library.add_linking_library(result.library)
    context.create_cpython_wrapper(
        library, descriptor, environment, result.call_helper, release_gil=release_gil
    )
    if not any(isinstance(t, types.Omitted) for t in descriptor.argtypes):
        context.create_cfunc_wrapper(library, descriptor, environment, result.call_helper)
    return library


def _define(codegen: Any, name: str) -> None:
    """The variable that holds a function's constants, which all that link the function share."""
    module = llvm.parse_assembly(f'@"{name}" = common global ptr null')
    codegen._engine.add_module(module)
    codegen._engine.finalize_object()
