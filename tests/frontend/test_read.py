"""Reading: captures compile nothing, follow calls, and say in four parts what cannot be read."""

from __future__ import annotations

import inspect
import threading
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit, typeof, types
from numba.core import event, ir
from numba.core.dispatcher import Dispatcher

import numbaflux as nf
from numbaflux.errors import UnsupportedError
from numbaflux.frontend import fence
from numbaflux.frontend.program import read
from numbaflux.frontend.read import Run, capture, loc_of

F, N, X = types.float64, types.int64, types.float64[::1]
Point = namedtuple("Point", "x y")
SCALE = 3.0


def doubled(x):
    return 2.0 * x


def quadrupled(x):
    return doubled(doubled(x))


def countdown(n, x):
    if n <= 0:
        return x
    return countdown(n - 1, x + 1.0)


@njit
def even(n):
    return 1.0 if n == 0 else odd(n - 1)


@njit
def odd(n):
    return 0.0 if n == 0 else even(n - 1)


@njit(error_model="numpy")
def inverse(x, scale=2.0, *rest):
    return scale / x


def line_of(f, text: str) -> int:
    lines, start = inspect.getsourcelines(getattr(f, "py_func", f))
    return start + next(k for k, line in enumerate(lines) if text in line)


def refused(f, *arg_types: types.Type) -> UnsupportedError:
    with pytest.raises(UnsupportedError) as caught:
        fence.check(capture(f, arg_types))
    assert all((caught.value.what, caught.value.why, caught.value.instead))
    return caught.value


# ---- captures ----------------------------------------------------------------------------------


def test_a_function_with_its_types():
    def f(a, n):
        return a[n] * 2

    typed = capture(f, (X, N))
    assert typed.return_type == F
    assert typed.arg_types == (X, N)
    assert typed.arg_names == ("a", "n")
    assert typed.typemap["n"] == N
    assert (typed.loc.line, typed.loc.function) == (line_of(f, "def f"), "f")
    assert all(isinstance(block, ir.Block) for block in typed.blocks.values())


def test_the_line_of_a_decorated_function_is_its_def():
    assert capture(inverse.py_func, (F, F, types.StarArgTuple(()))).loc.line == line_of(
        inverse, "def inverse"
    )


def test_defaults_and_star_arguments():
    typed = capture(inverse.py_func, (F, types.Omitted(2.0), types.StarArgTuple((F, N))))
    assert typed.return_type == F
    assert typed.arg_names == ("x", "scale", "rest")


def test_options_of_the_user_are_taken():
    assert capture(doubled, (F,), {"fastmath": True, "cache": True}).return_type == F


def test_calls_are_typed_without_compiling():
    @njit
    def g(x):
        return x * 2

    @njit
    def f(x):
        return g(x) + g(2) + inverse(x) + inverse(x, scale=x)

    before = dict(inverse.overloads)
    assert capture(f.py_func, (F,), dispatcher=f).return_type == F
    assert not g.overloads and not f.overloads
    assert inverse.overloads == before


def test_dispatchers_compile_as_ever_afterwards():
    original = Dispatcher.get_call_template, Dispatcher.compile

    @njit
    def g(x):
        return x + 1.0

    @njit
    def f(x):
        return g(x)

    capture(f.py_func, (F,), dispatcher=f)
    assert (Dispatcher.get_call_template, Dispatcher.compile) == original
    assert f(1.0) == 2.0
    assert len(g.overloads) == 1


def test_functions_of_numbas_own_are_typed_without_compiling():
    @njit
    def f(a):
        b = np.empty(a.shape)
        np.dot(a, a, b)
        return np.median(b) + np.linalg.det(a)

    with event.install_recorder("numba:compile") as compiled:
        assert capture(f.py_func, (types.float64[:, ::1],), dispatcher=f).return_type == F
    assert not compiled.buffer
    assert f(2.0 * np.eye(2)) == 2.0 + 4.0


def test_what_is_being_compiled_keeps_what_it_has_typed():
    """A function that is read while its caller is being compiled, both calling `np.empty`."""

    def f(x):
        a = np.empty(3)
        a[:] = x
        return a.sum()

    @njit
    def caller(x):
        return np.empty(3).size + derivative(x)

    derivative = nf.grad(f)
    assert caller(1.0) == 6.0


def test_plain_functions_are_read():
    def inner(x):
        return quadrupled(x) + SCALE

    def f(x):
        return inner(x) + doubled(x)

    assert capture(f, (F,)).return_type == F


def test_plain_functions_of_a_module():
    module = type(inspect)("module_of_mine")
    module.doubled = doubled

    def f(x):
        return module.doubled(x)

    assert capture(f, (F,)).return_type == F


def test_recursion():
    assert capture(countdown, (N, F)).return_type == F
    assert capture(countdown, (N, F), dispatcher=njit(countdown)).return_type == F
    assert capture(even.py_func, (N,)).return_type == F
    assert capture(even.py_func, (N,), dispatcher=even).return_type == F

    def f(n, x):
        return countdown(n, x) + even(n)

    assert capture(f, (N, F)).return_type == F


def test_functions_as_arguments():
    @njit
    def g(x):
        return x + 1.0

    def f(h, x):
        return h(x)

    def both(pair, x):
        return pair[0] + pair[1](x)

    assert capture(f, (typeof(g), F)).return_type == F
    assert capture(both, (types.Tuple((F, typeof(g))), F)).return_type == F
    assert not g.overloads


def test_a_derivative_says_itself_what_it_returns():
    class Derivative(type(inverse)):
        def numbaflux_program(self, arg_types):
            raise AssertionError("the program is not needed to type a call")

        def numbaflux_return_type(self, arg_types):
            return types.UniTuple(arg_types[0], 2)

    derivative = Derivative(doubled)

    def f(x):
        return derivative(x)[1]

    assert capture(f, (F,)).return_type == F


def test_two_threads():
    failures = []

    def work():
        for _ in range(5):

            @njit
            def g(x):
                return x + 1.0

            def f(x):
                return g(x) * quadrupled(x)

            try:
                assert capture(f, (F,)).return_type == F
                assert njit(lambda x, g=g: x)(1.0) == 1.0
                assert g(1.0) == 2.0
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_places():
    assert str(loc_of(ir.Loc("f.py", 3), doubled)) == "f.py:3"
    assert loc_of(ir.Loc("f.py", 3), doubled).function == "doubled"
    assert loc_of(ir.Loc("f.py", 3), "g").function == "g"


# ---- what Numba refuses ------------------------------------------------------------------------


def test_unknown_attribute():
    def f(a):
        b = a + 1.0
        return b.nonsense

    error = refused(f, X)
    assert "nonsense" in error.what
    assert error.loc.line == line_of(f, "b.nonsense")
    assert error.why == "Numba cannot compile it"


def test_types_that_do_not_unify():
    def f(n):
        if n:
            a = 1.0
        else:
            a = (1.0, 2.0)
        return a

    error = refused(f, N)
    assert "unify" in error.what
    assert "one type" in error.instead


def test_a_call_that_numba_does_not_know():
    def f(x):
        y = x + 1.0
        return np.median(y, y, y)

    error = refused(f, F)
    assert error.loc.line == line_of(f, "np.median")


def test_an_unknown_name():
    def f(x):
        return x + no_such_name  # noqa: F821

    error = refused(f, F)
    assert "no_such_name" in error.what
    assert error.loc.line == line_of(f, "no_such_name")


def test_an_import_inside():
    def f(x):
        y = x
        import math

        return math.sin(y)

    error = refused(f, F)
    assert error.loc.line == line_of(f, "import math")
    assert "import" in error.what


def test_an_exception_by_name():
    def f(x):
        try:
            return 1.0 / x
        except ZeroDivisionError:
            return x

    assert refused(f, F).what == "`try`/`except`"


def test_a_loop_over_items_of_several_types():
    def f(x):
        for _ in (1, "a", 2.0):
            x += 1.0
        return x

    assert refused(f, F).what.startswith("a loop over Tuple(")


def test_a_fault_in_a_callee_is_reported_there():
    @njit
    def g(a):
        return a.nonsense

    @njit
    def h(a):
        return g(a) + 1.0

    def f(a):
        return h(a)

    error = refused(f, X)
    assert (error.loc.line, error.loc.function) == (line_of(g, "a.nonsense"), "g")


# ---- what the fence refuses --------------------------------------------------------------------


def test_try():
    def f(x):
        try:
            y = 1.0 / x
        except Exception:
            y = 0.0
        return y

    error = refused(f, F)
    assert error.what == "`try`/`except`"
    assert error.loc.line in (line_of(f, "try:"), line_of(f, "1.0 / x"))


def test_generator():
    def f(x):
        y = x
        yield y

    error = refused(f, F)
    assert error.what == "a generator"
    assert error.loc.line == line_of(f, "yield")


def test_async():
    async def f(x):
        return x

    assert "async" in refused(f, F).what


def test_dict_and_set():
    def d(x):
        found = {1: x}
        return found[1]

    def s(x):
        found = {x, 2.0}
        return len(found) * x

    assert refused(d, F).what == "a dict"
    assert refused(d, F).loc.line == line_of(d, "{1: x}")
    assert refused(s, F).what == "a set"


def test_complex():
    def f(x):
        return (x * 1j).imag

    def g(pair):
        return pair[0].real

    assert refused(f, F).what == "a complex number"
    assert refused(g, types.Tuple((types.complex128[::1], F))).what == "a complex number"


def test_records_and_dates():
    def record(a):
        return a[0].x

    def date(a):
        return a.size * 1.0

    dtype = np.dtype([("x", "f8"), ("y", "f8")])
    assert "structured" in refused(record, typeof(np.zeros(2, dtype))).what
    assert "date" in refused(date, typeof(np.zeros(2, "M8[s]"))).what


def test_objmode():
    from numba import objmode

    def f(x):
        with objmode(y="float64"):
            y = float(str(x))
        return y * 2.0

    assert "objmode" in refused(f, F).what


def test_what_may_pass():
    def f(p, a, n):
        s = p.x + p.y
        label = "negative"
        if n < 0:
            raise ValueError(f"{label} count")
        values = [s, 2.0]
        for v, w in zip(a, values):
            s += v * w
        print(label, s)
        return (s, a), None

    point = types.NamedUniTuple(F, 2, Point)
    typed = capture(f, (point, X, N))
    fence.check(typed)
    assert isinstance(typed.return_type, types.Tuple)


def test_attributes_of_other_objects_are_not_functions():
    holder = SimpleNamespace(doubled=doubled)

    def f(x):
        return holder.doubled(x)

    assert refused(f, F).loc.line == line_of(f, "holder.doubled")


def captured(f, monkeypatch):
    """The names of the user's functions that are typed for a program of f."""
    names = []
    original = Run._capture

    def counting(self, dispatcher, py_func, *args):
        names.extend([py_func.__name__] if py_func.__module__ == __name__ else [])
        return original(self, dispatcher, py_func, *args)

    monkeypatch.setattr(Run, "_capture", counting)
    read(f, (F,))
    return sorted(names)


def test_a_function_is_typed_once_for_some_types(monkeypatch):
    @njit
    def inner(x):
        return x * x

    @njit
    def outer(x):
        return inner(x) + inner(2 * x)

    def f(x):
        return outer(x) * outer(x + 1.0) + inner(x) + inner(int(x))

    assert captured(f, monkeypatch) == ["f", "inner", "inner", "outer"]  # inner of an integer too


def test_a_function_with_other_options_is_another(monkeypatch):
    def inner(x):
        return 1.0 / x

    python, numpy = njit(inner), njit(inner, error_model="numpy")
    f = njit(lambda x: python(x) + numpy(x))
    assert captured(f, monkeypatch) == ["<lambda>", "inner", "inner"]
    with pytest.raises(ZeroDivisionError):
        nf.grad(njit(lambda x: python(x)))(0.0)
    assert nf.grad(njit(lambda x: numpy(x)))(0.0) == -np.inf
