"""The cases, a file a family."""

from __future__ import annotations

from importlib import import_module

from benchmarks.case import Case

FAMILIES = [
    "hello",
    "llsq",
    "lse",
    "gmm",
    "ba",
    "lstm",
    "ht",
    "kmeans",
    "ode",
    "det",
    "particle",
    "saddle",
    "recurrences",
    "elementwise",
    "heat",
    "rosenbrock",
    "solvers",
    "particles",
    "markov",
    "expm",
    "programs",
    "overhead",
]


def everything() -> tuple[Case, ...]:
    """All cases, in the order of the families."""
    modules = (import_module(f"benchmarks.cases.{family}") for family in FAMILIES)
    return tuple(case for module in modules for case in module.CASES)


def find(name: str) -> Case:
    """The case of that name."""
    known = {case.name: case for case in everything()}
    if name not in known:
        raise KeyError(f"there is no case {name!r}; there are {', '.join(known)}")
    return known[name]
