"""Machine code on disk: what a later process needs to call a derivative, and nothing beside.

Numba's own cache would do, but for a generated function it takes longer than to load the code: its
module is executed, a dispatcher made of it, its source hashed, and the LLVM code, several times as
long as the machine code, is parsed.  Here a derivative finds what `compile_result` needs in one
file, under the fingerprint that says all it depends on, and the LLVM code is parsed for a caller
that wants to inline it.
"""

# Numba's classes declare few of their attributes.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import pickle
from typing import Any

import llvmlite.binding as llvm
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompileResult, compile_result

DAMAGED = (
    pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, KeyError, TypeError,
    ValueError,
)  # fmt: skip


def dump(result: CompileResult, text: str) -> bytes | None:
    """A compile result and the source it was made from; None if they are this process's own."""
    library = result.library
    if library.has_dynamic_globals or result.lifted:
        return None
    (_, _, (code, bitcode)), *rest = result._reduce()
    shared = library._get_module_for_linking()
    symbols = {
        symbol.name
        for kind in (shared.functions, shared.global_variables)
        for symbol in kind
        if not symbol.is_declaration
    }
    try:
        return pickle.dumps((text, library.name, code, bitcode, symbols, rest), protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def load(
    data: bytes, context: Any, args: tuple[types.Type, ...]
) -> tuple[CompileResult, str] | None:
    """What `dump` was given, ready to be called; None if it is not that, or for other arguments."""
    context.refresh()
    try:
        text, name, code, bitcode, symbols, rest = pickle.loads(data)
        descriptor, environment, signature, objectmode, lifted, annotation, again, others = rest
    except DAMAGED:
        return None
    if signature.args != args:
        return None
    for prepare in again:
        prepare()
    library = _Library(context.codegen(), name, code, bitcode, symbols)
    result = compile_result(
        target_context=context,
        typing_context=context.typing_context,
        library=library,
        environment=environment,
        entry_point=context.get_executable(library, descriptor, environment),
        fndesc=descriptor,
        type_annotation=annotation,
        signature=signature,
        objectmode=objectmode,
        lifted=lifted,
        reload_init=again,
        referenced_envs=others,
    )
    for each in others:
        library.codegen.set_env(each.env_name, each)
    context.insert_user_function(result.entry_point, descriptor, [library])
    return result, text


class _Library(JITCodeLibrary):
    """Machine code as it was kept; its LLVM code is parsed when it is asked for."""

    def __init__(self, codegen: Any, name: str, code: bytes, bitcode: bytes, symbols: set[str]):
        super().__init__(codegen, name)
        self._bitcode = bitcode
        self.enable_object_caching()
        self._set_compiled_object(code)
        self._finalize_final_module()
        codegen._engine._defined_symbols |= symbols

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvm.parse_bitcode(self._bitcode)
        return self._shared_module
