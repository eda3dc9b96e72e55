"""`inspect FILE.py:FUNCTION ARGS...`: see, check and time the derivative of a function."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np

import numbaflux as nf


class UsageError(Exception):
    """The command line names something that is not there."""


def load(target: str) -> Callable[..., Any]:
    """The function that `FILE.py:FUNCTION` names."""
    file, colon, name = target.rpartition(":")
    path = Path(file)
    if not colon or not name.isidentifier():
        raise UsageError(f"{target!r} is not of the form FILE.py:FUNCTION")
    if not path.is_file():
        raise UsageError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    try:
        return getattr(module, name)
    except AttributeError:
        raise UsageError(f"{file} defines no {name!r}") from None


def argument(text: str) -> Any:
    """The value of one argument: a Python expression that may use `np` and `math`."""
    try:
        return eval(text, {"np": np, "math": math})
    except Exception as error:
        raise UsageError(f"cannot evaluate the argument {text!r}: {error}") from None


def floating(value: Any) -> bool:
    """Whether a derivative with respect to `value` makes sense."""
    if isinstance(value, (tuple, list)):
        return len(value) > 0 and all(floating(item) for item in value)
    return not isinstance(value, bool) and np.issubdtype(np.asarray(value).dtype, np.floating)


def copies(args: Sequence[Any]) -> list[Any]:
    """Fresh arguments for a call: the function may overwrite its arrays."""
    return [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in args]


def fastest(f: Callable[..., Any], args: Sequence[Any], budget: float = 1.0) -> float:
    """Seconds of the fastest call of f within `budget` seconds, the copies not counted."""
    f(*copies(args))
    best, spent = math.inf, 0.0
    while spent < budget:
        fresh = copies(args)
        begin = time.perf_counter()
        f(*fresh)
        took = time.perf_counter() - begin
        best, spent = min(best, took), spent + max(took, 1e-4)
    return best


def derivative(f: Callable[..., Any], result: Any, argnums: tuple[int, ...]) -> tuple[str, Any]:
    """The name of the derivative that suits the result, and the derivative."""
    first, *more = argnums
    which: Any = argnums if more else first
    if np.ndim(result) == 0 and not isinstance(result, tuple):
        return "grad", nf.grad(f, argnums=which)
    return "jacobian", nf.jacobian(f, argnums=which)


def inspect(target: str, texts: Sequence[str], argnums: Sequence[int] | None = None) -> None:
    """Print the code of the derivative, whether it is right, and what it costs."""
    f = load(target)
    args = [argument(text) for text in texts]
    chosen = tuple(argnums or [i for i, arg in enumerate(args) if floating(arg)])
    if not chosen:
        raise UsageError("no argument is a float or an array of floats: nothing to differentiate")
    primal = f if hasattr(f, "py_func") else numba.njit(f)
    result = primal(*copies(args))
    name, transformed = derivative(f, result, chosen)
    print(f"# {name} of {target} with respect to argument {', '.join(map(str, chosen))}")
    print(nf.source(transformed, *copies(args)))
    nf.check_grads(f, tuple(copies(args)), order=1, modes=("fwd", "rev"))
    print("# checked: forward and reverse mode agree with each other and with differences")
    cost, base = fastest(transformed, args), fastest(primal, args)
    print(f"# primal {1e6 * base:.2f} us, {name} {1e6 * cost:.2f} us: {cost / base:.2f} primals")
