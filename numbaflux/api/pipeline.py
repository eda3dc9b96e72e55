"""From a Program to an njit function in a real file: optimise, write, keep, import.

A generated file is imported as a module of its own, so that tracebacks show its lines.  With a
fingerprint it is kept in the user's cache, and beside it what was compiled from it, NAME.bin: the
next process loads that, and reads, transforms and compiles nothing.  Without one it lives in a
folder that goes with the process.  Beside NAME.py lie its constant arrays, NAME.VARIABLE.npy.

note [Callers]  Machine code, a derivative's or that of a user's `njit(cache=True)` function that
calls it, comes with the name of the generated module, which Numba imports in the next process.
The module may be gone by then, and nothing is read from it: an empty one does.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib
import importlib.abc
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from numbaflux.backends import cpu
from numbaflux.debug import after
from numbaflux.frontend.read import OWN_OPTIONS
from numbaflux.ir.trees import Program, with_leaves
from numbaflux.ir.walk import everywhere
from numbaflux.passes import optimise
from numbaflux.passes.loops.vectorise import vectorise
from numbaflux.transforms.budget import borrowing, guarded
from numbaflux.transforms.custom import expand
from numbaflux.vecmath.bits import fused

PACKAGE = "numbaflux_generated"
LARGEST_CONSTANT = 10**6  # bytes; Numba refers to larger ones by address and cannot cache the code

_importing = threading.RLock()


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated function, not compiled yet, its text and its file.

    `kept`: it lies in the user's cache, and its machine code is good for another process.
    """

    function: Any  # what njit made of it
    text: str
    path: Path
    kept: bool = False


def generate(
    name: str,
    program: Program,
    options: Mapping[str, Any],
    key: str | None = None,
    frugal: object = None,
) -> Generated:
    """Optimise and write a program as a function called `name`; keep it under `key`, if any.

    `frugal`: what is called in its place when it would keep more than it may.
    """
    fn = after("optimise", optimise(everywhere(program.function, expand)))
    if frugal is not None:
        made = guarded(fn)
        fn, frugal = made, (None if made is fn else frugal)
    workspace = options.get("workspace")
    if workspace is not None:
        made = borrowing(fn)
        fn, workspace = made, (None if made is fn else workspace)
    if options.get("vecmath", True) and fused():
        fn = everywhere(fn, vectorise)
    program = Program(fn, program.args, with_leaves(program.result, fn.results))
    options = {n: v for n, v in options.items() if v and n not in OWN_OPTIONS}
    source = cpu.write(name, program, options, frugal, workspace)
    if key is not None and _fits(source):
        try:
            return replace(_save(cache_folder(), f"{name}_{key}", name, source), kept=True)
        except OSError:  # no room, or not ours to write: do without
            pass
    return keep(name, source)


def keep(name: str, source: cpu.Source) -> Generated:
    """The function of a module that goes with the process."""
    return _save(scratch(), f"{name}_{_content(source)}", name, source)


def save_code(name: str, key: str, data: bytes) -> None:
    """Keep machine code under `key`, if there is room."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        _replace(_place(name, key), lambda file: file.write(data))
    except OSError:
        pass


def load_code(name: str, key: str) -> bytes | None:
    """The machine code that `save_code` has kept under `key`."""
    try:
        return _place(name, key).read_bytes()
    except OSError:
        return None


def _place(name: str, key: str) -> Path:
    return cache_folder() / f"{name}_{key}.bin"


def identifier(name: str) -> str:
    """A function's name as part of a file name and as a Python identifier."""
    kept = "".join(c if c.isalnum() and c.isascii() else "_" for c in name).strip("_")
    return kept if kept[:1].isalpha() else f"f_{kept}"


# ---- folders -----------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where generated code is kept: NUMBAFLUX_CACHE_DIR, or the platform's place for caches."""
    chosen = os.environ.get("NUMBAFLUX_CACHE_DIR")
    if chosen:
        return Path(chosen)
    match sys.platform:
        case "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        case "darwin":
            base = Path.home() / "Library" / "Caches"
        case _:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "numbaflux"


@functools.cache
def scratch() -> Path:
    """The folder of this process for code that is not kept."""
    folder, owner = tempfile.mkdtemp(prefix="numbaflux_"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not a fork of it
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)


# ---- files -------------------------------------------------------------------------------------


def _save(folder: Path, stem: str, name: str, source: cpu.Source) -> Generated:
    """Write the files, NAME.py last: whoever sees it sees the others too."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.py"
    for n, array in source.constants.items():
        _replace(path.with_name(f"{stem}.{n}.npy"), lambda file, a=array: np.save(file, a))
    _replace(path, lambda file: file.write(source.text.encode()))
    return _load(path, name, source.text, {**source.classes, **source.instead})


def _replace(path: Path, write: Callable[[Any], Any]) -> None:
    """Write a file in one step, so that no other process sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _load(path: Path, name: str, text: str, given: Mapping[str, Any]) -> Generated:
    """Import a generated file, once, with what is given under its names in it."""
    full = f"{PACKAGE}.{path.stem}"
    with _importing:
        module = sys.modules.get(full)
        if getattr(module, "__file__", None) != str(path):
            spec = importlib.util.spec_from_file_location(full, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            importlib.import_module(PACKAGE)
            sys.modules[full] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[full]
                raise
            module.__dict__.update(given)
    return Generated(getattr(module, name), text, path)


class _Callers(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds generated modules that this process has not generated.  note [Callers]"""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        known = fullname == PACKAGE or fullname.startswith(f"{PACKAGE}.")
        return ModuleSpec(fullname, self, is_package=fullname == PACKAGE) if known else None

    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = "What numbaflux generated in another process."


sys.meta_path.append(_Callers())


def _fits(source: cpu.Source) -> bool:
    return source.portable and all(a.nbytes <= LARGEST_CONSTANT for a in source.constants.values())


def _content(source: cpu.Source) -> str:
    """A hash of what a source says; classes that only this process knows count by identity."""
    digest = hashlib.sha256(source.text.encode())
    for name, array in source.constants.items():
        digest.update(f"{name} {array.dtype.str} {array.shape} {array.strides}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(" ".join(f"{name} {id(cls)}" for name, cls in source.classes.items()).encode())
    return digest.hexdigest()[:16]
