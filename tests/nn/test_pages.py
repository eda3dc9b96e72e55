"""The other library's code on the pages for who comes from it, where that library is installed."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("page", "libraries"), [("jax", ["jax"]), ("keras", ["jax", "keras"]), ("pytorch", ["torch"])]
)
def test_their_code_runs(page, libraries, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    for library in libraries:
        pytest.importorskip(library)
    text = (DOCS / f"coming-from-{page}.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, f"{page}.md", "exec"), {})
