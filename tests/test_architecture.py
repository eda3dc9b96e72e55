"""The listings of docs/architecture.md are what the code prints: one loop through every stage."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import numbaflux as nf

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
LISTING = re.compile(r"(<!-- listing: (\w+) -->\n```python\n)(.*?)(```\n)", re.DOTALL)


def growth(x, k):
    for i in range(1, len(x)):
        x[i] += k * x[i - 1] * x[i]
    return x[-1]


def stages(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What each stage prints."""
    derivative, args = nf.grad(growth), (np.array([1.0, 2.0, 3.0]), 0.5)
    with nf.debug(print_after="all"):
        source = nf.source(derivative, *args)
    printed = re.split(r"^# \S+ after (\w+)\n", capsys.readouterr().err, flags=re.MULTILINE)[1:]
    found = {"user": inspect.getsource(growth), **dict(zip(printed[::2], printed[1::2]))}
    return {**found, "source": source}


def test_listings(capsys, request):
    text, found = PAGE.read_text("utf-8"), stages(capsys)
    shown = LISTING.sub(lambda m: m[1] + found[m[2]].rstrip() + "\n" + m[4], text)
    assert [m[2] for m in LISTING.finditer(text)] == ["user", "read", "grad", "optimise", "source"]
    if request.config.getoption("--update-golden"):
        PAGE.write_text(shown, "utf-8")
    else:
        assert shown == text


def test_every_file_named_exists():
    folder = PAGE.parents[1] / "numbaflux"
    names = re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE.read_text("utf-8"))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    tests = {f"tests/{path.name}" for path in Path(__file__).parent.glob("*.py")}
    assert names
    known = {*files, *tests, *(Path(name).name for name in files)}
    assert [name for name in names if name not in known] == []
