"""Options of the test suite."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ["NUMBAFLUX_VERIFY"] = "1"  # before numbaflux is imported: verify after every stage

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("numbaflux")
    group.addoption("--fuzz-count", type=int, default=192, help="random programs to try")
    group.addoption("--fuzz-seed", type=int, default=0, help="which random programs")
    group.addoption("--update-golden", action="store_true", help="rewrite tests/golden/*.txt")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """golden(text): compare text with the file of the test's name; --update-golden rewrites it."""
    name = re.sub(r"\W+", "_", request.node.name.removeprefix("test_")).strip("_")
    path = GOLDEN / f"{name}.txt"

    def compare(text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_text(text, "utf-8")
        assert path.exists(), f"{path} is missing: run pytest with --update-golden"
        assert text == path.read_text("utf-8")

    return compare


@pytest.fixture(autouse=True)
def sixteen_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the machine's memory is written into code that could need more."""
    from numbaflux.api import memory

    monkeypatch.setattr(memory, "MACHINE", 16 * 10**9)
