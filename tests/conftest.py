"""Options of the test suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("numbaflux")
    group.addoption("--fuzz-count", type=int, default=40, help="random programs to try")
    group.addoption("--fuzz-seed", type=int, default=0, help="the first random program")
