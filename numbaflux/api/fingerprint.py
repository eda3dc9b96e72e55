"""The fingerprint of a derivative: a hash of everything its generated code depends on.

The byte code, constants, closure and globals of the function and of all it calls, the transform,
argument types, options, and the versions of what compiles it.  A value that cannot be hashed
reliably makes the fingerprint None: such a derivative is not kept on disk.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import os
import platform
import sys
import types as pytypes
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types
from numba.extending import is_jitted

PACKAGE = Path(__file__).parents[1]
STABLE = ("numpy", "numba", "scipy", "numbaflux", "math", "cmath", "operator", "builtins", "random")

# Instructions that read a name, each with how many bits of its argument say something else.
READ_BY_NAME = {dis.opmap["LOAD_GLOBAL"]: 1, dis.opmap["LOAD_NAME"]: 0}
READ_ATTRIBUTE = {dis.opmap["LOAD_ATTR"]: int(sys.version_info >= (3, 12))}
if sys.version_info < (3, 12):
    READ_ATTRIBUTE[dis.opmap["LOAD_METHOD"]] = 0


class _Unknown(Exception):
    """A value whose contents cannot be hashed."""


def fingerprint(*parts: Any) -> str | None:
    """The hash of some values and of what they refer to, or None if one cannot be hashed."""
    hasher = _Hasher()
    try:
        hasher.visit((TOOLCHAIN, *parts))
    except _Unknown:
        return None
    return hasher.digest()


def _sources(folder: Path) -> Iterator[str]:
    """What changes with our sources; looking is enough, reading them all takes a while."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _sources(Path(entry.path))
            elif entry.name.endswith(".py"):
                stat = entry.stat()
                yield f"{entry.path} {stat.st_size} {stat.st_mtime_ns}"


def _toolchain() -> str:
    """What compiles a derivative: our own sources, the versions below us."""
    versions = numba.__version__, llvmlite.__version__, np.__version__, platform.python_version()
    return hashlib.sha256("\n".join((*sorted(_sources(PACKAGE)), *versions)).encode()).hexdigest()


TOOLCHAIN = _toolchain()  # of what is imported now: files may change before the first derivative


class _Hasher:
    """Feeds values to a hash, each object once."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # so that an id stays that object's
        self._modules: set[tuple[int, frozenset[str]]] = set()

    def digest(self) -> str:
        return self._hash.hexdigest()[:40]

    def put(self, kind: str, text: str | bytes = "") -> None:
        data = text.encode() if isinstance(text, str) else text
        self._hash.update(f"{kind}:{len(data)}:".encode() + data)

    def visit(self, value: Any) -> None:
        match value:
            case None | bool() | int() | float() | complex() | str() | bytes() if _plain(value):
                self.put(type(value).__name__, repr(value))
            case pytypes.EllipsisType():
                self.put("ellipsis")
            case tuple() | list():
                self.put(type(value).__name__, str(len(value)))
                if type(value) not in (tuple, list):
                    self.visit(type(value))
                self.visit_all(value)
            case set() | frozenset():
                self.put("set", "".join(sorted(_digest_of(item) for item in value)))
            case dict():
                self.put("dict", str(len(value)))
                self.visit_all(item for pair in value.items() for item in pair)
            case _:
                self.object(value)

    def visit_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self.visit(value)

    def object(self, value: Any) -> None:
        """An object that may be met again, inside itself too."""
        if id(value) in self._seen:
            self.put("again", str(self._seen[id(value)]))
            return
        self._seen[id(value)] = len(self._seen)
        self._alive.append(value)
        if hasattr(value, "numbaflux_parts") and not isinstance(value, type):
            self.put("parts", type(value).__qualname__)
            self.visit(value.numbaflux_parts())
        elif isinstance(value, pytypes.FunctionType | pytypes.CodeType | pytypes.ModuleType):
            self.data(value)  # first: what Numba's types are takes a while to ask
        elif isinstance(value, types.Type):
            self.numba_type(value)
        elif is_jitted(value):
            self.put("jitted", type(value).__qualname__)
            self.visit(sorted(value.targetoptions.items(), key=lambda item: item[0]))
            self.visit(value.py_func)
        else:
            self.data(value)

    def data(self, value: Any) -> None:
        match value:
            case pytypes.FunctionType():
                self.function(value)
            case pytypes.CodeType():
                self.code(value)
            case pytypes.BuiltinFunctionType() | np.ufunc():
                self.put("builtin", f"{getattr(value, '__module__', '')}.{value.__name__}")
            case enum.Enum():
                self.put("enum", f"{type(value).__qualname__}.{value.name}")
                self.visit(value.value)
            case type():
                self.cls(value)
            case np.ndarray():
                if value.dtype.hasobject:
                    raise _Unknown
                self.put("array", f"{value.dtype.descr} {value.shape} {value.strides}")
                self._hash.update(np.ascontiguousarray(value).tobytes())
            case np.generic() | np.dtype():
                self.put(type(value).__name__, repr(value))
            case pytypes.ModuleType():
                self.put("module", f"{value.__name__} {_version(value.__name__)}")
            case functools.partial():
                self.put("partial")
                self.visit((value.func, value.args, value.keywords))
            case range() | slice():
                self.put("range", repr(value))
            case _ if _is_stable(value) and hasattr(value, "__qualname__"):
                self.put("object", f"{value.__module__}.{value.__qualname__}")
            case _:
                raise _Unknown

    def cls(self, value: type) -> None:
        self.put("class", f"{value.__module__}.{value.__qualname__}")
        fields = getattr(value, "_fields", None)
        if issubclass(value, tuple) and fields is not None:
            self.visit(fields)
        elif not _is_stable(value):
            raise _Unknown

    def numba_type(self, value: types.Type) -> None:
        self.put("type", type(value).__name__)
        match value:
            case types.Dispatcher():
                self.visit(value.dispatcher)
            case types.Omitted():
                self.visit(value.value)
            case types.BaseTuple(types=items):
                self.visit(getattr(value, "instance_class", None))
                self.visit_all(items)
            case types.Number() | types.Boolean() | types.Array() | types.UnicodeType():
                self.put("name", str(value))
            case types.Literal() | types.NoneType():
                self.put("name", str(value))
            case types.Optional():
                self.visit(value.type)
            case types.List():
                self.visit(value.dtype)
            case _:
                raise _Unknown

    # ---- functions -----------------------------------------------------------------------------

    def function(self, f: pytypes.FunctionType) -> None:
        if _is_stable(f) and not f.__closure__:  # `optim.adam(lr=0.1)` is not `optim.adam(lr=0.2)`
            self.put("function", f"{f.__module__}.{f.__qualname__}")
            return
        self.put("function", f.__name__)
        self.visit((f.__code__, f.__defaults__, f.__kwdefaults__))
        attributes = frozenset(_names_read(f.__code__, READ_ATTRIBUTE))
        try:
            closure = [cell.cell_contents for cell in f.__closure__ or ()]
        except ValueError:  # a variable not assigned yet
            raise _Unknown from None
        self.visit(len(closure))
        for value in closure:
            self.reached(value, attributes)
        builtins = f.__builtins__
        for name in sorted(set(_names_read(f.__code__, READ_BY_NAME))):
            self.put("global", name)
            if name in f.__globals__:
                self.reached(f.__globals__[name], attributes)
            elif name not in builtins:
                self.put("missing")

    def reached(self, value: Any, attributes: frozenset[str]) -> None:
        """A global or closure value; of a module of the user's, what may be read from it."""
        self.visit(value)
        if not isinstance(value, pytypes.ModuleType) or _is_stable_module(value.__name__):
            return
        if (id(value), attributes) in self._modules:
            return
        self._modules.add((id(value), attributes))
        for name in sorted(attributes):
            if hasattr(value, name):
                self.put("attribute", name)
                found = getattr(value, name)
                if found is not value:
                    self.reached(found, attributes)

    def code(self, code: pytypes.CodeType) -> None:
        self.put("code", code.co_code)
        self.put("flags", f"{code.co_flags} {code.co_argcount} {code.co_kwonlyargcount}")
        self.put("handlers", code.co_exceptiontable)
        self.visit((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        self.visit(code.co_consts)


def _plain(value: Any) -> bool:
    """Whether repr says everything: not so for an enum that is also an int."""
    return type(value) in (type(None), bool, int, float, complex, str, bytes)


def _digest_of(value: Any) -> str:
    hasher = _Hasher()
    hasher.visit(value)
    return hasher.digest()


def _is_stable(value: Any) -> bool:
    return _is_stable_module(getattr(value, "__module__", None) or "")


def _is_stable_module(name: str) -> bool:
    return name.partition(".")[0] in STABLE


def _version(module: str) -> str:
    """The version of a well-known module; any other is known by what is read from it."""
    if not _is_stable_module(module):
        return ""
    return getattr(
        sys.modules.get(module.partition(".")[0]), "__version__", platform.python_version()
    )


def _names_read(code: pytypes.CodeType, opcodes: Mapping[int, int]) -> Iterator[str]:
    """The names that a function and the functions inside it read by some instructions.

    Read off the bytes: `dis` takes longer than all the rest of a fingerprint.
    """
    instructions, extended = code.co_code, 0
    for opcode, arg in zip(instructions[::2], instructions[1::2]):
        arg |= extended
        extended = arg << 8 if opcode == dis.EXTENDED_ARG else 0
        if opcode in opcodes:
            yield code.co_names[arg >> opcodes[opcode]]
    for constant in code.co_consts:
        if isinstance(constant, pytypes.CodeType):
            yield from _names_read(constant, opcodes)
