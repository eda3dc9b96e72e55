"""Reading: each case's program is well formed and, interpreted, does what Numba's function does."""

import math

import numpy as np
import pytest
from numba import njit, typeof
from numba.extending import overload

from numbaflux.errors import UnsupportedError
from numbaflux.frontend import read
from numbaflux.ir import nodes
from numbaflux.ir.trees import Fixed
from numbaflux.ir.verify import verify
from numbaflux.ir.walk import walk
from tests.frontend import cases_memory, cases_scalars  # noqa: F401
from tests.frontend.random_control import generate
from tests.frontend.reading import CASES, check, program_of, run, same


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    check(*CASES[name])


@pytest.mark.parametrize("seed", range(20))
def test_random_control_flow(seed):
    scope = {}
    exec(generate(seed), scope)
    program = program_of(scope["f"], np.zeros(3))
    verify(program.function)
    for values in ((3.5, -1.5, 0.5), (0.0, 2.0, -1.0), (2.25, 0.75, 3.0)):
        ours, theirs = np.array(values), np.array(values)
        expected = scope["f"](theirs)
        same(run(program, (ours,)), float(expected), "result")
        same(ours, theirs, "x afterwards")


def kinds(program):
    return [type(stmt).__name__ for stmt in walk(program.function.block)]


def test_plain_loop_is_one_for():
    def total(x):
        s = 0.0
        for i in range(x.shape[0]):
            s += x[i] * 2
        return s

    program = check(total, (np.arange(3.0),))
    assert kinds(program) == ["Dim", "For", "Load", "Prim", "Prim"]


def test_expression_is_one_loop():
    def total(x, y):
        return np.sum(np.exp(x) * y + 1.5 * x)

    assert kinds(check(total, (np.arange(3.0), np.ones(3)))).count("For") == 1


def test_user_names_survive():
    def scaled(height, k):
        volume = height * 3
        for step in range(k):
            volume = volume * height + step
        return volume

    program = program_of(scaled, 2.0, 3)
    (loop,) = [s for s in program.function.block.stmts if isinstance(s, nodes.For)]
    assert [v.name for v in loop.body.params] == ["step", "volume"]
    assert [name for name, _ in program.args] == ["height", "k"]


def test_locations_are_the_users():
    def located(x):
        y = x * 3
        return math.sin(y)

    first = located.__code__.co_firstlineno
    lines = [s.loc.line for s in program_of(located, 2.0).function.block.stmts]
    assert lines == [first + 1, first + 2]


def test_omitted_and_function_arguments_are_fixed():
    program = read(cases_scalars.pruned, (typeof(1.0),))
    assert program.args[1] == ("mode", Fixed(None))
    assert program.args[2] == ("power", Fixed(2))
    assert run(program, (3.0,)) == 9.0


@pytest.mark.parametrize("divide", ["x / y", "x // y", "x % y"])
def test_zero_division_raises_where_numba_does(divide):
    f = eval(f"lambda x, y: {divide}")
    program = program_of(f, 1.0, 0.0)
    with pytest.raises(ZeroDivisionError):
        run(program, (1.0, 0.0))
    assert "Raise" not in kinds(program_of(f, 1.0, 0.0, error_model="numpy"))
    assert "Raise" not in kinds(program_of(eval(f"lambda x: {divide}", {"y": 2.0}), 1.0))


def test_raise_keeps_class_and_message():
    def positive(x):
        if x < 0:
            raise ValueError("x is negative")
        return math.sqrt(x)

    program = check(positive, (4.0,))
    with pytest.raises(ValueError, match="x is negative"):
        run(program, (-1.0,))
    assert "If" not in kinds(program)


def test_out_of_range_items_raise():
    program = program_of(cases_scalars.tuple_index, (1.0, 2.0, 3.0), 1)
    with pytest.raises(IndexError):
        run(program, ((1.0, 2.0, 3.0), 3))


def test_print_is_kept(capsys):
    def shown(x):
        print("x is", x)
        return x

    run(program_of(shown, 2.0), (2.0,))
    assert capsys.readouterr().out == "x is 2.0\n"


def test_parallel_mark():
    program = program_of(cases_scalars.parallel_loop, 2.0, 6)
    (loop,) = [s for s in program.function.block.stmts if isinstance(s, nodes.For)]
    assert loop.parallel


def test_one_global_for_one_array():
    table = np.arange(3.0)

    def twice(i):
        return table[i] + table[i + 1]

    loads = [s for s in walk(program_of(twice, 1).function.block) if isinstance(s, nodes.Load)]
    assert loads[0].array is loads[1].array


def hooked(x):
    raise AssertionError("only lowered")


@overload(hooked)
def _hooked(x):
    return lambda x: x


hooked.numbaflux_lower = lambda b, call: b.mul(call.args[0], nodes.Const(5.0))


def test_lower_hook():
    def caller(x):
        return hooked(x) + 1

    assert run(program_of(caller, 2.0), (2.0,)) == 11.0


def test_program_of_a_derivative_is_copied_in():
    @njit
    def double(x):
        return 3 * x  # what its program says counts, not this

    def twice(x):
        return x + x

    double.numbaflux_program = lambda arg_types: read(twice, arg_types)

    def caller(x):
        return double(x) * double(x + 1)

    assert run(program_of(caller, 2.0), (2.0,)) == 4.0 * 6.0


# ---- what is not read ------------------------------------------------------------------------


def list_result(x):
    a = [x]
    a.append(2.0)
    return a


def complex_number(x):
    z = x + 1j
    return z.real


def grows_list_of_tuples(x):
    a = [(x, x)]
    a.append((x, 1.0))
    return a[0][0]


def pops_middle(x):
    a = [x, 1.0, 2.0]
    return a.pop(0)


@pytest.mark.parametrize(
    ("f", "args", "line", "what"),
    [
        (list_result, (2.0,), 0, "a list as a result"),
        (complex_number, (2.0,), 1, "complex"),
        (grows_list_of_tuples, (2.0,), 1, "a list of"),
        (pops_middle, (2.0,), 2, "pop"),
    ],
)
def test_unsupported_has_four_parts_and_the_line(f, args, line, what):
    with pytest.raises(UnsupportedError) as caught:
        program_of(f, *args)
    error = caught.value
    assert what in error.what
    code = getattr(f, "py_func", f).__code__
    assert error.loc.line == code.co_firstlineno + line
    assert error.why
    assert error.instead
