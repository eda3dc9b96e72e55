"""Other tools at the same cases, each written as its own users would write it.

A rival of a case is a function `prepare(*args)` of the case's arguments; it returns two functions
of no arguments, the primal and the derivative, each of which waits for its result.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

Prepare = Callable[..., tuple[Callable[[], Any], Callable[[], Any]]]

NEEDS = {
    "hand": "numba",
    "jax": "jax",
    "autograd": "autograd",
    "torch": "torch",
    "torch_compile": "torch",
}
"""Name of a rival (the module here is NAME_rival) and the package it needs."""


def installed() -> tuple[str, ...]:
    """The rivals that can run here."""
    return tuple(name for name, package in NEEDS.items() if find_spec(package))


def table(name: str) -> dict[tuple[str, str], Prepare]:
    """What a rival has written: by case and mode."""
    return import_module(f"benchmarks.rivals.{name}_rival").RIVALS


def find(name: str, case: str, mode: str) -> Prepare:
    return table(name)[case, mode]
