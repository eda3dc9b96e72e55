"""Every case at its smallest size: the primal runs, each derivative passes its check."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numbaflux as nf
from benchmarks import cases, check, long_run, machine, report, rivals, runner
from benchmarks.__main__ import COLUMNS, chosen, main
from benchmarks.case import compiled
from benchmarks.timing import Call, interleaved

ROOT = Path(__file__).parents[2]
TWELVE = "hello llsq lse gmm ba lstm ht kmeans ode det particle saddle"


def every_mode():
    """The sessions of GradBench compile the twelve, so here they are for exhaustive runs."""
    for case in cases.everything():
        for mode in case.modes:
            marks = [pytest.mark.slow] if case.name in TWELVE.split() else []
            yield pytest.param(case, mode, id=f"{case.name}-{mode}", marks=marks)


@pytest.mark.parametrize("case, mode", list(every_mode()))
def test_derivative(case, mode):
    how, args = case.modes[mode], case.args("small")
    derivative = how.build(compiled(case.primal))
    given = how.arguments(args)
    how.check(args, derivative(*given))
    how.check(args, derivative(*given))  # neither call has changed the arguments


def test_there_are_gradbenchs_twelve():
    names = [case.name for case in cases.everything()]
    assert names[:12] == TWELVE.split()
    assert len(set(names)) == len(names)
    assert all(len(case.sizes) > 1 and "small" in case.sizes for case in cases.everything())


def test_inputs_come_from_a_fixed_seed():
    for case in cases.everything():
        first, second = case.args("small"), case.args("small")
        for one, other in zip(first, second):
            if isinstance(one, np.ndarray):
                np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(rivals.NEEDS))
def test_rivals(name):
    if name not in rivals.installed():
        pytest.skip(f"{rivals.NEEDS[name]} is not installed")
    for (case_name, mode), prepare in rivals.table(name).items():
        case = cases.find(case_name)
        args = case.args("small")
        primal, derivative = prepare(*args)
        np.testing.assert_allclose(np.asarray(primal()), case.primal(*args), rtol=1e-9)
        case.modes[mode].check(args, derivative())


def square(x):
    return float(np.sum(x * x))


@pytest.mark.parametrize(
    "accepts",
    [
        check.exactly(lambda x: 2.0 * x),
        check.differences(square, (0,)),
        lambda args, result: check.slope(square, (0,))(
            args,
            nf.Dup(square(*args), float(result @ check.direction(args, (0,))[0])),
        ),
    ],
    ids=["exactly", "differences", "slope"],
)
def test_checks_tell_right_from_wrong(accepts):
    args = (np.arange(1.0, 5.0),)
    accepts(args, 2.0 * args[0])
    wrong = 2.0 * args[0]
    wrong[2] *= 1.001
    with pytest.raises(AssertionError, match="wrong by"):
        accepts(args, wrong)


def test_differences_are_of_eighth_order():
    args, tangents = (0.3,), {0: 1.0}
    errors = [
        abs(float(check.along(math.exp, args, tangents, h)) - math.exp(0.3)) for h in (0.8, 0.4)
    ]
    assert 200 < errors[0] / errors[1] < 300


def test_times_are_of_one_call():
    slow, fast = Call(lambda n: sum(range(n)), (20_000,)), Call(lambda n: sum(range(n)), (2000,))
    times, others = interleaved((slow, fast), budget=0.2)
    assert 4 < times.fastest / others.fastest < 25
    assert times.fastest <= times.median


def test_memory_of_a_derivative_is_beyond_the_primals():
    small, large = Call(np.ones, (100_000,)), Call(np.ones, (5_100_000,))
    extra = machine.extra_bytes(small, large)
    assert extra is None or extra == pytest.approx(40_000_000, rel=0.05)


def test_which_cases_are_chosen():
    def names(arguments, small=False):
        return [(case.name, size, mode) for case, size, mode in chosen(arguments, small)]

    assert names(["det:6"]) == [("det", "6", "forward"), ("det", "6", "gradient")]
    assert names(["kmeans:small:direction"]) == [("kmeans", "small", "direction")]
    assert {size for _, size, _ in names([], small=True)} == {"small"}
    assert {name for name, _, _ in names([])} == {case.name for case in cases.everything()}
    with pytest.raises(KeyError, match="there is no case 'nothing'"):
        names(["nothing"])


def test_command_line(tmp_path):
    kept, picture = tmp_path / "rows.json", tmp_path / "rows.png"
    command = ["call:scalar", "--json", str(kept), "--plot", str(picture), "--rivals"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    rows = json.loads(kept.read_text())
    (row,) = rows
    assert (row["case"], row["size"], row["mode"]) == ("call", "scalar", "gradient")
    assert list(row) == [*COLUMNS, "rivals"]
    assert row["ratio"] == row["derivative_s"] / row["primal_s"]
    assert row["rivals"].keys() == {
        name for name in rivals.installed() if ("call", "gradient") in rivals.table(name)
    }
    assert row["rivals"]["hand"].keys() == {"primal_s", "derivative_s"}
    assert picture.stat().st_size > 1000


def test_a_case_that_fails_is_said_to(monkeypatch, capsys):
    def fail(*args):
        raise runner.Failed("it is wrong")

    monkeypatch.setattr(runner, "measure", fail)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "hello:1:gradient"])
    assert main() == 1
    assert "FAILED: it is wrong" in capsys.readouterr().out


def test_a_kept_file_as_a_table():
    """A ratio above its goal stands out; a rival is measured by its own primal."""
    row = {
        "case": "lse", "size": "n2500", "mode": "gradient", "primal_s": 1e-5, "ratio": 2.0,
        "extra_bytes": 0, "rivals": {"jax": {"primal_s": 1.0, "derivative_s": 3.0}},
    }  # fmt: skip
    table = report.markdown([row, row], [1.2, 3.0]).splitlines()
    assert table[0] == "| case | size | mode | `f` | ratio | goal | memory | jax |"
    assert table[2] == "| lse | n2500 | gradient | 10 us | **2.00** | 1.2 | 0 | 3.0 |"
    assert table[3] == "| lse | n2500 | gradient | 10 us | 2.00 | 3.0 | 0 | 3.0 |"


def test_how_long_compiling_takes():
    times = {"compile_primal_s": 1.0, "cached_primal_first_call_s": 0.5, "mode": "gradient"}
    rows = [
        {"case": "lse", "compile_derivative_s": 2.0, "cached_first_call_s": 0.5, **times},
        {"case": "ode", "compile_derivative_s": 8.0, "cached_first_call_s": 2.0, **times},
    ]
    compiled, loaded = report.summary(rows).splitlines()
    assert compiled.endswith("geometric mean 4.00, largest 8.0 (ode gradient)")
    assert loaded.endswith("geometric mean 2.00, largest 4.0 (ode gradient)")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_long_run_in_little_memory(capsys):
    long_run.main(["200000", "--memory", "100 KB"])
    found = re.search(r"peak (.*) MB; .* would take 5 MB", capsys.readouterr().out)
    assert found and float(found[1]) < 1.0
