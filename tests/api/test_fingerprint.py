"""The fingerprint changes with everything the generated code depends on, and with nothing else."""

import dis
import os
import subprocess
import sys
import types as pytypes
from collections import namedtuple

import numpy as np
import pytest
from numba import njit, types

import numbaflux as nf
from numbaflux import optim
from numbaflux.api.fingerprint import READ_ATTRIBUTE, READ_BY_NAME, _names_read, fingerprint


def made(text: str, **names):
    """A function from its text, in a namespace of its own."""
    space = {"np": np, "njit": njit, **names}
    exec(text, space)
    return space["f"]


def of(text: str, **names) -> str:
    found = fingerprint(made(text, **names))
    assert found is not None
    return found


def test_the_same_function_has_one_fingerprint():
    assert of("def f(x): return np.sin(x)") == of("\n\ndef f(x): return np.sin(x)")


@pytest.mark.parametrize(
    "other",
    [
        "def f(x): return x * 3",
        "def f(x): return x * 2.0",
        "def f(x): return x + 2",
        "def f(x, n=1): return x * 2",
        "def f(x): return x * (lambda: 2)()",
        "@njit\ndef f(x): return x * 2",
    ],
)
def test_another_function_has_another(other):
    assert of("def f(x): return x * 2") != of(other)


@pytest.mark.parametrize(
    "one, other",
    [
        (1, 2),
        (1, 1.0),
        (0.0, -0.0),
        (1, True),
        (np.arange(3.0), np.arange(3)),
        (np.array([1.0, 2.0]), np.array([1.0, 3.0])),
        (np.ones((2, 3)), np.ones((2, 3), order="F")),
        (np.float32(1), np.float64(1)),
        ((1, (2, 3)), (1, 2, 3)),
        (np.sin, np.cos),
        (len, abs),
        (made("def f(x): return x"), made("def f(x): return -x")),
        (njit(made("def f(x): return x")), njit(made("def f(x): return -x"))),
        (njit(made("def f(x): return x")), njit(fastmath=True)(made("def f(x): return x"))),
        (namedtuple("Point", "x y"), namedtuple("Point", "x z")),
        (nf.Layout.of("Net", W=(2, 3)), nf.Layout.of("Net", W=(3, 2))),
        (optim.sgd(lr=0.1), optim.sgd(lr=0.2)),
    ],
)
def test_globals_and_closures_count(one, other):
    by_global = "def f(x): return g"
    by_closure = "def outer(value):\n  def f(x): return value\n  return f\nf = outer(g)"
    by_helper = "def h(): return g\ndef f(x): return h()"
    for text in (by_global, by_closure, by_helper):
        assert of(text, g=one) != of(text, g=other)
        assert of(text, g=one) == of(text, g=one)


def test_what_a_module_of_the_users_provides_counts():
    module = pytypes.ModuleType("mine")
    module.helper = made("def f(x): return x")
    module.itself = module
    text = "def f(x): return m.itself.helper(x)"
    before = of(text, m=module)
    module.unused = 1
    assert of(text, m=module) == before
    module.helper = made("def f(x): return x + 1")
    assert of(text, m=module) != before


def test_functions_that_call_each_other():
    text = "def g(x): return f(x){}\ndef f(x): return g(x)"
    assert of(text.format("")) == of(text.format("")) != of(text.format(" + 1"))


def test_what_cannot_be_hashed_has_none():
    assert fingerprint(made("def f(x): return g", g=object())) is None
    assert fingerprint(made("def f(x): return g.y", g=pytypes.SimpleNamespace(y=1))) is None
    assert fingerprint(made("def f(x): return g", g=np.array([None]))) is None
    assert fingerprint(made("def f(x): return x", g=object())) is not None  # not read


def test_types_and_options_count():
    f = made("def f(x): return x")
    assert fingerprint(f, (types.float64,)) != fingerprint(f, (types.float32,))
    assert fingerprint(f, (types.float64[:],)) != fingerprint(f, (types.float64[::1],))
    assert fingerprint(f, (types.Omitted(1),)) != fingerprint(f, (types.Omitted(2),))
    assert fingerprint(f, {"fastmath": True}) != fingerprint(f, {"fastmath": False})
    assert fingerprint(f, {"fastmath": {"nnan", "nsz"}}) == fingerprint(
        f, {"fastmath": {"nsz", "nnan"}}
    )


PROGRAM = """
import numpy as np
from numba import njit, types
from numbaflux.api.fingerprint import fingerprint
TABLE = np.arange(5.0)
@njit
def helper(x): return x if x in {1.0, 2.0, 3.0} else TABLE[2]
def f(x, n=3):
    return helper(x) + sum([np.sin(x) for _ in range(n)])
print(fingerprint(f, (types.float64, types.Omitted(3)), {"fastmath": {"nnan", "nsz", "arcp"}}))
"""


def test_it_is_the_same_in_another_process():
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1 and "None" not in found.pop()


@pytest.mark.parametrize("module", [pytest, np, subprocess, sys.modules[__name__]], ids=str)
def test_the_names_that_a_function_reads_are_those_of_dis(module):
    def names(code, opcodes):
        for instruction in dis.get_instructions(code):
            if instruction.opname in opcodes:
                yield instruction.argval
        for constant in code.co_consts:
            if isinstance(constant, pytypes.CodeType):
                yield from names(constant, opcodes)

    functions = [f for f in vars(module).values() if isinstance(f, pytypes.FunctionType)]
    assert functions
    for f in functions:
        code = f.__code__
        assert [*_names_read(code, READ_BY_NAME)] == [*names(code, ("LOAD_GLOBAL", "LOAD_NAME"))]
        attributes = [*names(code, ("LOAD_ATTR", "LOAD_METHOD"))]
        assert [*_names_read(code, READ_ATTRIBUTE)] == attributes


def test_names_beyond_the_first_256():
    lines = "".join(f"    global_{i}.attribute_{i}\n" for i in range(400))
    space = {}
    exec(f"def f():\n{lines}", space)
    for opcodes, name in ((READ_BY_NAME, "global"), (READ_ATTRIBUTE, "attribute")):
        found = [*_names_read(space["f"].__code__, opcodes)]
        assert found == [f"{name}_{i}" for i in range(400)]
