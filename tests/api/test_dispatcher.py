"""What a transform returns is a Numba function in every respect."""

import gc
import inspect
import math
import os
import pickle
import re
import subprocess
import sys
import threading
import traceback
import weakref
from pathlib import Path

import numpy as np
import pytest
from numba import njit, types

import numbaflux as nf
from numbaflux.api.dispatcher import Derivative


def power(x, n=3):
    """x to the n."""
    y = 1.0
    for _ in range(n):
        y *= x
    return y


@njit
def square(x):
    return x * x


# ---- like a Python function --------------------------------------------------------------------


def test_name_doc_signature():
    d = nf.grad(power)
    assert d.__name__ == "grad_power"
    assert "x to the n." in d.__doc__
    assert inspect.signature(d) == inspect.signature(power)
    assert inspect.signature(nf.grad(nf.grad(power))) == inspect.signature(power)
    assert d.py_func(2.0) == d.__wrapped__(2.0) == 12.0
    assert nf.grad(lambda x: x * x).__name__.isidentifier()


def test_defaults_and_keywords():
    d = nf.grad(power)
    assert (d(2.0), d(2.0, 2), d(2.0, n=4), d(n=4, x=2.0)) == (12.0, 4.0, 32.0, 32.0)
    with pytest.raises(TypeError):
        d()


def test_star_arguments():
    def total(x, *rest):
        for r in rest:
            x = x * r
        return x

    assert nf.grad(total)(2.0, 3.0, 4.0) == 12.0


def test_the_call_is_numbas_own():
    """Where no code may refuse a call, for want of memory."""
    called = nf.grad(lambda x: x * x)
    called(2.0)
    assert called.__class__.__call__ is type(square).__call__


def test_an_integer_counts_as_a_float():
    df = nf.grad(lambda x: 3 * x**2 + 2 * x + 1)
    assert df(2) == 14.0 and isinstance(df(2), float)
    assert nf.grad(df)(2) == 6.0
    assert df(np.float32(2)) == 14.0

    @njit
    def inside(n):
        return df(n) + df(2)

    assert inside(2) == 28.0


def test_an_integer_that_must_stay_one():
    def pick(x, i):
        return x[i] * x[i]

    with pytest.raises(TypeError, match=r"`n` of `power` is used as an integer(.|\n)*in range.n."):
        nf.grad(power, argnums=1)(2.0, 3)
    with pytest.raises(TypeError, match=r"`i` of `pick` is used as an integer(.|\n)*argnums"):
        nf.grad(pick, argnums=1)(np.ones(3), 1)
    with pytest.raises(TypeError, match=r"`i` of `pick` is used as an integer(.|\n)*tangent"):
        nf.jvp(pick, (np.ones(3), 1), (np.ones(3), 1.0))


def test_pickle():
    d = pickle.loads(pickle.dumps(nf.grad(power)))
    assert d(2.0) == 12.0


def test_garbage_is_collected():
    def f(x):
        return x * x

    d = nf.grad(f, fastmath=True)
    assert d(3.0) == 6.0
    gone = weakref.ref(d)
    del d
    gc.collect()
    assert gone() is None


# ---- options -----------------------------------------------------------------------------------


def test_options_carry_over():
    fast = njit(fastmath=True, boundscheck=True, error_model="numpy")(power)
    options = nf.grad(nf.grad(fast), nogil=True).options
    assert options == {"fastmath": True, "boundscheck": True, "error_model": "numpy", "nogil": True}
    with pytest.raises(TypeError, match="'fast'.*fastmath"):
        nf.grad(power, fast=True)
    with pytest.raises(TypeError, match="takes a function, not float"):
        Derivative(nf.grad(power).transform, 1.0, {})


def test_boundscheck():
    def beyond(x):
        return x[0] * x[x.size + 1]

    with pytest.raises(IndexError):
        nf.grad(beyond, boundscheck=True)(np.ones(2))


# ---- inside njit -------------------------------------------------------------------------------


def test_closure_and_argument():
    d = nf.grad(power)

    @njit
    def inside(x):
        return d(x) + d(x, n=2) + d(x, 4)

    @njit
    def apply(g, x):
        return g(x)

    assert inside(2.0) == 12.0 + 4.0 + 32.0
    assert apply(d, 2.0) == 12.0
    assert apply(nf.grad(d), 2.0) == 12.0


def test_transforms_called_inside():
    @njit
    def inside(x):
        first = nf.grad(square)(x)
        both = nf.value_and_grad(square, argnums=(0,))(x)
        second = nf.grad(nf.grad(square, 0), argnums=0)(x)
        return first, both, second

    assert inside(3.0) == (6.0, (9.0, (6.0,)), 2.0)


def test_transform_of_an_argument_inside():
    @njit
    def newton(f, x):
        for _ in range(50):
            x -= f(x) / nf.grad(f)(x)
        return x

    @njit
    def f(x):
        return x * x - 2.0

    assert newton(f, 1.0) == pytest.approx(math.sqrt(2.0), rel=1e-15)


def test_inner_functions():
    @njit
    def inside(x):
        def inner(y, k):
            return k * y * y

        return nf.grad(inner)(x, 2.0) + nf.grad(lambda y: y * y)(x)

    assert inside(3.0) == 18.0


def test_pairs_inside():
    @njit
    def inside(x, v):
        return nf.jvp(square, (x,), (v,)), nf.vjp(square, primals=(x,), cotangents=v)

    assert inside(3.0, 2.0) == ((9.0, 12.0), (9.0, (12.0,)))


def test_options_inside_are_constants():
    @njit
    def inside(x, n):
        return nf.grad(square, n)(x)

    with pytest.raises(Exception, match="argnums must be a constant inside @njit"):
        inside(1.0, 0)


def test_differentiated_again():
    def f(x):
        d = nf.grad(square)(x)
        out, tangent = nf.jvp(square, (x,), (1.0,))
        return d * d + out + tangent

    assert nf.grad(f)(3.0) == 8 * 3.0 + 2 * 3.0 + 2.0
    assert nf.grad(nf.grad(f))(3.0) == 10.0


# ---- errors ------------------------------------------------------------------------------------


def generates(x):
    yield x


def test_errors_surface_as_they_are():
    with pytest.raises(nf.UnsupportedError) as caught:
        nf.grad(generates)(1.0)
    assert re.search(r"test_dispatcher.py:\d+ in generates\n.*\n  why .*\n  instead ",
                     str(caught.value))  # fmt: skip
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert len(frames) <= 3 and frames[-1].name == "_compile_for_args"

    d = nf.grad(generates)

    @njit
    def inside(x):
        return d(x)

    with pytest.raises(nf.UnsupportedError, match="generates"):
        inside(1.0)


def test_a_function_that_needs_its_own_derivative():
    def f(x):
        return d(x)

    d = nf.grad(f)
    with pytest.raises(nf.UnsupportedError, match="inside the function it is the derivative of"):
        d(1.0)


# ---- the generated source ----------------------------------------------------------------------


def test_source():
    d = nf.grad(power)
    text = nf.source(d, 2.0, n=2)
    assert "def grad_power(x, n)" in text
    assert nf.source(d, 2.0) != text
    with pytest.raises(TypeError, match="source"):
        nf.source(power, 2.0)


def test_tracebacks_show_the_source():
    def refuses(x):
        if x < 0.0:
            raise ValueError("negative")
        return x * x

    with pytest.raises(ValueError, match="negative"):
        nf.grad(refuses)(-1.0)


def test_the_source_is_a_module():
    d = nf.grad(power)
    text = nf.source(d, 2.0)
    module = inspect.getmodule(d._inner[(types.float64, types.Omitted(3))].py_func)
    assert module.__name__.startswith("numbaflux_generated.")
    assert sys.modules[module.__name__] is module
    assert inspect.getsource(module) == text


def test_debug_prints(capsys):
    with nf.debug(print_after="read, grad", verify=True):
        nf.grad(lambda x: x * x)(2.0)
    err = capsys.readouterr().err
    assert "after read" in err and "after grad" in err and "after optimise" not in err
    nf.grad(lambda x: x * x)(2.0)
    assert capsys.readouterr().err == ""


def test_types_without_compiling():
    d = nf.value_and_grad(square)
    ty = d.numbaflux_return_type((types.float64,))
    assert ty == types.UniTuple(types.float64, 2)
    assert not d.signatures
    d(1.0)
    assert d.overloads[(types.float64,)].signature.return_type == ty


# ---- threads -----------------------------------------------------------------------------------


def test_threads():
    wave = njit(lambda x, a: a * np.sin(x * a).sum())
    x = np.linspace(0.0, 1.0, 5)
    shared, found, failures = nf.grad(wave), {}, []
    start = threading.Barrier(4)

    def work(i):
        try:
            start.wait()
            dtype = (np.float64, np.float32)[i % 2]
            y = x.astype(dtype)
            own = nf.grad(lambda z: i * z * z)
            found[i] = [shared(y, dtype(2.0)), shared(y, 2), own(3.0)]
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not failures
    for i in range(4):
        np.testing.assert_allclose(found[i][0], 4 * np.cos(2 * x), rtol=1e-6)
        np.testing.assert_allclose(found[i][1], 4 * np.cos(2 * x), rtol=1e-6)
        assert found[i][2] == 6.0 * i
    assert len(shared.signatures) == 4


# ---- the cache ---------------------------------------------------------------------------------

ROOT = str(Path(nf.__file__).parents[1])
POINT = """
from typing import NamedTuple

class Point(NamedTuple):
    x: float
    y: float
"""
PROGRAM = """
import numpy as np
from numba import njit
from point import Point
import numbaflux as nf
import numbaflux.api.dispatcher as dispatcher

reads = []
read = dispatcher.frontend.read
dispatcher.frontend.read = lambda *args: reads.append(args) or read(*args)

TABLE = np.arange(4.0)

@njit
def helper(x):
    return {helper}

@njit(cache=True)
def f(p, n=2):
    s = 0.0
    for i in range(n):
        s += helper(p.x) * p.y * TABLE[i]
    return s

d = nf.grad(f)
value = d(Point(2.0, 3.0))
second = nf.grad(nf.grad(lambda x: x ** 3, cache=True), cache=True)(2.0)
print(value.x, value.y, second, len(reads), sum(d.stats.cache_hits.values()))
assert sum(d.stats.cache_misses.values()) == 1 - sum(d.stats.cache_hits.values())
"""


NEARBY = """
import numba
import numpy as np
from point import Point
import numbaflux as nf

d = nf.grad(lambda p: p.x * p.y, cache=True)
g = nf.grad(lambda x: x ** 3, cache=True)

@numba.njit
def both(x):  # what it calls is inlined, from the cache too
    return g(x) + d(Point(x, 4.0)).x

@numba.njit(cache=True, parallel=True)
def threads(x):
    s = 0.0
    for i in numba.prange(len(x)):
        s += x[i] ** 3
    return s

h = nf.grad(threads)
value = d(Point(2.0, 3.0))
assert type(value) is Point
print(value.x, value.y, both(2.0), *h(np.arange(3.0)))
print(*(sum(each.stats.cache_hits.values()) for each in (d, g, h)))
assert "def grad_" in nf.source(g, 2.0)
"""


OWN_CLASS = """
from collections import namedtuple
import numbaflux as nf

Pair = namedtuple("Pair", "x y")
d = nf.grad(lambda p: p.x * p.y, cache=True)
value = d(Pair(2.0, 3.0))
assert type(value) is Pair
print(value.x, value.y, sum(d.stats.cache_hits.values()))
"""


CALLER = """
from numba import njit
import numbaflux as nf

d = nf.grad(lambda x: x * x * x)

@njit(cache=True)
def caller(x):
    return d(x) + 1.0

print(caller(2.0), sum(caller.stats.cache_hits.values()))
"""


def run(folder, text):
    script = folder / "program.py"
    script.write_text(text)
    (folder / "point.py").write_text(POINT)
    env = {**os.environ, "NUMBAFLUX_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_second_process_compiles_nothing(tmp_path):
    text, other = PROGRAM.format(helper="x * x"), PROGRAM.format(helper="x * x + 0 * x")
    assert run(tmp_path, text) == ["12.0", "4.0", "12.0", "2", "0"]
    assert run(tmp_path, text) == ["12.0", "4.0", "12.0", "0", "1"]
    assert run(tmp_path, other) == ["12.0", "4.0", "12.0", "1", "0"]


def test_a_damaged_cache_is_written_anew(tmp_path):
    text = PROGRAM.format(helper="x * x")
    first = run(tmp_path, text)
    for path in (tmp_path / "cache").glob("*.bin"):
        path.write_bytes(path.read_bytes()[:1000])
    assert run(tmp_path, text) == first


def test_machine_code_of_another_process_is_inlined_and_threaded(tmp_path):
    assert run(tmp_path, NEARBY) == ["3.0", "2.0", "16.0", "0.0", "3.0", "12.0", *"000"]
    assert run(tmp_path, NEARBY) == ["3.0", "2.0", "16.0", "0.0", "3.0", "12.0", *"111"]


def test_a_class_that_another_process_cannot_import_is_not_kept(tmp_path):
    for _ in range(2):
        assert run(tmp_path, OWN_CLASS) == ["3.0", "2.0", "0"]
    assert not list((tmp_path / "cache").glob("grad_*"))


def test_a_cached_caller_finds_its_derivative(tmp_path):
    assert run(tmp_path, CALLER) == ["13.0", "0"]
    assert run(tmp_path, CALLER) == ["13.0", "1"]


def test_nothing_is_left_behind_without_cache(tmp_path):
    program = (
        "import numbaflux as nf\n"
        "from numbaflux.api import pipeline\n"
        "nf.grad(lambda x: x * x)(1.0)\n"
        "assert list(pipeline.scratch().glob('*.py'))\n"
    )
    env = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "NUMBAFLUX_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": ROOT,
    }
    subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []
