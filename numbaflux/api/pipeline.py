"""From a Program to a Python function in a real file: optimise, write, keep, import.

A generated file is imported as a module of its own, so that Numba caches what it compiles from it
and tracebacks show its lines.  With a fingerprint it is kept in the user's cache and found again
by the next process, which then reads and transforms nothing; without one it lives in a folder that
goes with the process.  Beside NAME.py lie its constant arrays (NAME.VARIABLE.npy) and NAME.json,
which says what else its text refers to.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from numbaflux import debug
from numbaflux.backends import cpu
from numbaflux.ir.trees import Program
from numbaflux.passes import optimise

PACKAGE = "numbaflux_generated"
LARGEST_CONSTANT = 10**6  # bytes; Numba refers to larger ones by address and cannot cache the code

_importing = threading.RLock()


@dataclass(frozen=True, slots=True)
class Generated:
    """A generated function, its text, and whether Numba can keep what it compiles from it."""

    function: Callable[..., Any]
    text: str
    path: Path
    cacheable: bool


def generate(program: Program, options: Mapping[str, Any], key: str | None = None) -> Generated:
    """Optimise and write a program; keep the file under `key` if it has one."""
    fn = debug.after("optimise", optimise(program.function))
    program = Program(fn, program.args, program.result)
    name = identifier(fn.name)
    source = cpu.write(name, program, dict(options))
    references = _references(source.classes)
    constants = dict(source.constants)
    if key is not None and references is not None:
        folder, stem = cache_folder(), f"{name}_{key}"
        try:
            return _save(folder, stem, name, source.text, constants, source.classes, references)
        except OSError:  # no room, or not ours to write: do without
            pass
    stem = f"{name}_{_content(source.text, constants)}"
    if references is None:  # its classes are known to this process only, by identity
        stem += "".join(f"_{id(cls):x}" for cls in source.classes.values())
    return _save(scratch(), stem, name, source.text, constants, source.classes, references or {})


def find(name: str, key: str | None) -> Generated | None:
    """The function that an earlier `generate` kept under `key`."""
    name = identifier(name)
    stem = f"{name}_{key}"
    path = cache_folder() / f"{stem}.py"
    if key is None or not path.exists():
        return None
    try:
        about = json.loads(path.with_suffix(".json").read_text("utf-8"))
        classes = {n: _resolve(*where) for n, where in about["classes"].items()}
        constants = {n: np.load(_npy(path, n)) for n in about["constants"]}
        return _load(path, name, path.read_text("utf-8"), {**constants, **classes})
    except (OSError, ValueError, KeyError, ImportError, AttributeError):
        return None  # written by a process that was cut off, or cleared away meanwhile


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


def _save(
    folder: Path,
    stem: str,
    name: str,
    text: str,
    constants: Mapping[str, np.ndarray],
    classes: Mapping[str, type],
    references: Mapping[str, tuple[str, str]],
) -> Generated:
    """Write the files, NAME.py last: whoever sees it sees the others too."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.py"
    if not path.exists():
        for n, array in constants.items():
            _replace(_npy(path, n), lambda file, array=array: np.save(file, array))
        about = json.dumps({"classes": references, "constants": list(constants)})
        _replace(path.with_suffix(".json"), lambda file: file.write(about.encode()))
        _replace(path, lambda file: file.write(text.encode()))
    return _load(path, name, text, {**constants, **classes})


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


def _load(path: Path, name: str, text: str, names: Mapping[str, Any]) -> Generated:
    """Import a generated file, once; its text finds `names` as globals."""
    full = f"{PACKAGE}.{path.stem}"
    with _importing:
        module = sys.modules.get(full)
        if module is None or module.__file__ != str(path):
            spec = importlib.util.spec_from_file_location(full, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            module.__dict__.update(names)
            sys.modules.setdefault(PACKAGE, _package())
            sys.modules[full] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[full]
                raise
    arrays = [v for v in names.values() if isinstance(v, np.ndarray)]
    cacheable = all(a.nbytes <= LARGEST_CONSTANT for a in arrays)
    return Generated(getattr(module, name), text, path, cacheable)


def _package() -> ModuleType:
    package = ModuleType(PACKAGE, "The modules that numbaflux has generated in this process.")
    package.__path__ = []
    return package


def _npy(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}.{name}.npy")


def _content(text: str, constants: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in constants.items():
        digest.update(f"{name} {array.dtype.str} {array.shape} {array.strides}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _references(classes: Mapping[str, type]) -> dict[str, tuple[str, str]] | None:
    """How another process finds the namedtuple classes; None if it cannot."""
    found = {name: (cls.__module__, cls.__qualname__) for name, cls in classes.items()}
    for name, where in found.items():
        try:
            if _resolve(*where) is not classes[name]:
                return None
        except (ImportError, AttributeError):
            return None
    return found


def _resolve(module: str, qualname: str) -> Any:
    value: Any = importlib.import_module(module)
    for part in qualname.split("."):
        value = getattr(value, part)
    return value
