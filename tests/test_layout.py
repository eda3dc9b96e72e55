"""Who may import whom, and how long a file and a function may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "numbaflux"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 600, 60

# part of the package -> the parts it may import, besides itself
ARROWS = {
    "__init__": {"api", "cuda", "debug", "errors", "parts", "torch"},
    "__main__": {"cli", "demo"},
    "api": {
        "runtime",
        "transforms",
        "passes",
        "frontend",
        "backends",
        "vecmath",
        "ir",
        "debug",
        "errors",
    },
    "cuda": {"api", "transforms", "passes", "frontend", "backends", "watch", "ir", "errors"},
    "torch": {"cuda", "errors"},
    "cli": {"__init__"},
    "demo": {"__init__", "data", "nn", "optim", "vecmath"},
    "data": set(),
    "debug": {"ir"},
    "transforms": {"passes", "rules", "ir", "debug", "errors"},
    "passes": {"rules", "ir", "debug", "errors"},
    "rules": {"ir", "errors"},
    "frontend": {"vecmath", "ir", "errors", "parts"},
    "parts": set(),
    "nn": {"__init__", "optim", "vecmath"},
    "optim": {"__init__"},
    "backends": {"ir", "errors"},
    "runtime": set(),
    "lanes": set(),
    "vecmath": set(),
    "watch": set(),
    "ir": {"errors"},
    "errors": {"ir"},
}
MAY_KNOW_NUMBA = {
    f"numbaflux/api/{name}.py"
    for name in ("compiler", "dispatcher", "frugal", "linking", "machine_code")
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The dotted names a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Import(names=names):
                yield from (alias.name for alias in names)


def target(module: str) -> str | None:
    """The part of the package that a dotted name belongs to; None if to none."""
    top, *rest = module.split(".")
    if top != "numbaflux":
        return None
    known = rest and any((PACKAGE / f"{rest[0]}{end}").exists() for end in ("", ".py"))
    return rest[0] if known else "__init__"


def test_every_part_has_its_arrows():
    assert {part(path) for path in FILES} == set(ARROWS)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_follow_the_arrows(path):
    here = part(path)
    seen = {target(module) for module in imported(path)} - {None, here}
    assert seen <= ARROWS[here]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_numbas_internals_stay_in_their_corner(path):
    if part(path) != "frontend" and name(path) not in MAY_KNOW_NUMBA:
        assert not [m for m in imported(path) if m.startswith("numba.core")]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_are_short(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert not long


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_left_to_be_done(path):
    text = path.read_text("utf-8")
    assert not [mark for mark in ("TODO", "FIXME", "XXX") if mark in text]
