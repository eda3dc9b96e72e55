"""The demonstration and the commands of `python -m numbaflux`."""

import re

import numpy as np
import pytest

import numbaflux as nf
from numbaflux.__main__ import main
from numbaflux.cli.inspect import UsageError, argument, floating, load
from numbaflux.demo import fit as demo
from numbaflux.demo import lorenz, nbody, soft_dtw
from numbaflux.demo import lotka_volterra as lv
from numbaflux.demo import reaction_diffusion as rd
from tests.cuda import pretend

SPRING = """
import math

def energy(x, k, n):
    s = 0.0
    for i in range(x.size):
        s += 0.5 * k * x[i] ** 2 * n
    return s
"""


@pytest.fixture
def spring(tmp_path):
    path = tmp_path / "spring.py"
    path.write_text(SPRING, "utf-8")
    return path


def test_pelts():
    data = lv.pelts()
    assert data.years.tolist() == list(range(1900, 1921))
    assert data.counts[0].tolist() == [30.0, 4.0]
    assert data.counts[-1].tolist() == [24.7, 8.6]


def test_the_integrator_is_of_fourth_order():
    theta = np.array([0.55, 0.028, 0.8, 0.024, 34.0, 5.9])
    fine = lv.trajectory(theta, 10, 640)
    errors = [np.abs(lv.trajectory(theta, 10, n) - fine).max() for n in (5, 10, 20)]
    assert 12.0 < errors[0] / errors[1] < 20.0
    assert 12.0 < errors[1] / errors[2] < 20.0


def test_differences_of_the_loss():
    exact = demo.central_differences(lambda x: float(x[0] ** 2 * x[1]), np.array([3.0, 2.0]))
    np.testing.assert_allclose(exact, [12.0, 9.0], rtol=1e-10)


def test_fit_finds_the_published_rates():
    lines = []
    result = demo.fit(lv.pelts().counts, say=lines.append)
    assert lines
    assert result.loss == pytest.approx(1.0093, abs=1e-3)
    published = [value for value in demo.PUBLISHED if value is not None]
    np.testing.assert_allclose(result.theta[:4], published, rtol=0.05)
    assert demo.gradient_error(demo.START, lv.pelts().counts) < 1e-8


def test_demo_prints_and_draws(capsys, tmp_path):
    plot = tmp_path / "plot.png"
    assert main(["demo", "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert "published" in printed
    assert "finite differences" in printed
    assert plot.stat().st_size > 10_000


def test_plot(tmp_path):
    assert demo.save_plot(demo.START, lv.pelts(), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_inspect_prints_checks_and_times(spring, capsys):
    assert main(["inspect", f"{spring}:energy", "np.ones(5)", "2.0", "3"]) == 0
    printed = capsys.readouterr().out
    assert "grad of" in printed
    assert "argument 0, 1" in printed
    assert "def " in printed
    assert "# checked" in printed
    assert "primals" in printed


def test_inspect_says_what_is_wrong(spring, capsys):
    assert main(["inspect", f"{spring}:missing"]) == 2
    assert "defines no 'missing'" in capsys.readouterr().err
    assert main(["inspect", "nowhere.py:f", "1.0"]) == 2
    assert "no file nowhere.py" in capsys.readouterr().err
    assert main(["inspect", "nothing"]) == 2
    assert main(["inspect", f"{spring}:energy", "1 +"]) == 2
    assert "cannot evaluate" in capsys.readouterr().err


def test_inspect_loads_and_evaluates(spring):
    assert load(f"{spring}:energy")(np.ones(2), 1.0, 1) == 1.0
    assert argument("np.ones(5) * math.pi").shape == (5,)
    with pytest.raises(UsageError):
        argument("unknown_name")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, True),
        (1, False),
        (True, False),
        ("a", False),
        (None, False),
        (np.ones(2), True),
        (np.arange(2), False),
        ((1.0, np.ones(2)), True),
        ((1.0, 2), False),
        ((), False),
    ],
)
def test_what_is_differentiated_by_default(value, expected):
    assert floating(value) is expected


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for what in ("python", "numba", "llvmlite", "numpy", "scipy", "CPU", "SVML", "CUDA"):
        assert f"\n{what} " in f"\n{printed}"
    assert "threads" in printed


def test_cuda_demo_finds_the_rates(capsys, tmp_path):
    plot = tmp_path / "plot.png"
    assert main(["cuda-demo", "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    found = dict(re.findall(r"(diffusion|growth) +[\d.]+ +([\d.]+) +-?[\d.]+%", printed))
    assert float(found["diffusion"]) == pytest.approx(rd.TRUTH[0], rel=0.02)
    assert float(found["growth"]) == pytest.approx(rd.TRUTH[1], rel=0.02)
    assert "finite differences" in printed
    assert plot.stat().st_size > 10_000


def test_cuda_demo_without_noise(monkeypatch):
    """At the truth nothing pulls; and no kernel of it races."""
    monkeypatch.setattr(rd, "STEPS", 20)
    monkeypatch.setattr(rd, "SPREAD", nf.cuda.emulate(rd.spread))
    monkeypatch.setattr(rd, "MISFIT", nf.cuda.emulate(rd.misfit))
    seen = rd.photograph(noise=0.0)
    value, gradient = rd.loss_and_gradient(rd.TRUTH, seen)
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
    assert rd.gradient_error(rd.START, seen) < 1e-8


def test_an_ensemble_of_lorenz_systems():
    start = lorenz.ensemble()
    seen = lorenz.simulate(lorenz.TRUTH, start)
    _, d_theta, d_start = lorenz.loss_and_gradient(lorenz.START, start, seen)

    def loss(theta, start):
        return lorenz.loss(theta, start, seen)

    by_theta = demo.central_differences(lambda theta: loss(theta, start), lorenz.START)
    np.testing.assert_allclose(d_theta, by_theta, rtol=1e-8)
    way = np.random.default_rng(1).standard_normal(start.shape)
    along = demo.central_differences(lambda s: loss(lorenz.START, start + s[0] * way), np.zeros(1))
    assert np.sum(d_start * way) == pytest.approx(along[0], rel=1e-8)
    np.testing.assert_allclose(lorenz.fit(start, seen).x, lorenz.TRUTH, rtol=1e-5)


def test_cuda_demo_on_a_gpu(monkeypatch):
    """One that is not there: see tests/cuda/pretend.py."""
    seen = rd.photograph()
    monkeypatch.setattr(rd, "STEPS", 12)
    value, gradient = rd.loss_and_gradient(rd.START, seen)
    pretend.install(monkeypatch)
    place = rd.GPU._replace(put=lambda array: pretend.Array(array.copy()))
    monkeypatch.setattr(rd, "PLACE", place)
    monkeypatch.setattr(rd, "SPREAD", place.run(rd.spread))
    monkeypatch.setattr(rd, "MISFIT", place.run(rd.misfit))
    there, found = rd.loss_and_gradient(rd.START, seen)
    assert there == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found, gradient, rtol=1e-11)


def watched(monkeypatch, module, *names):
    """Its kernels, watched for races."""
    for name in names:
        kernel = getattr(module, name.lower())
        monkeypatch.setattr(module, name, nf.cuda.emulate(kernel))
    return module


def test_bodies_do_not_race(monkeypatch):
    bodies = nbody.cloud(20)  # not a multiple of a tile
    plain = nbody.energy_of(nbody.simulate(bodies, 2))
    module = watched(monkeypatch, nbody, "ACCELERATE", "SHIFT", "ENERGY")
    np.testing.assert_allclose(module.energy_of(module.simulate(bodies, 2)), plain, rtol=1e-14)


def test_energy_of_bodies_is_conserved_and_so_is_its_gradient():
    before = nbody.cloud(20)  # not a multiple of a tile
    value, found = nbody.energy_and_gradient(before, 6)
    start, expected = nbody.energy_and_gradient(before, 0)
    assert value == pytest.approx(start, rel=1e-6)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(expected.v, before.m[:, None] * before.v, rtol=1e-14)
    rng = np.random.default_rng(1)
    way = [rng.standard_normal(a.shape) for a in before]

    def moved(s):
        after = nbody.simulate(nbody.Bodies(*(a + s[0] * w for a, w in zip(before, way))), 6)
        return float(nbody.energy_of(after)[0])

    along = demo.central_differences(moved, np.zeros(1))[0]
    assert sum(np.sum(d * w) for d, w in zip(found, way)) == pytest.approx(along, rel=1e-9)


def test_soft_dtw_against_its_recursions(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.random(7), rng.random((3, 9))
    by_hand = [soft_dtw.by_hand(x, row, 0.3) for row in y]
    cost, gradient = soft_dtw.cost_and_gradient(x, y, 0.3)
    assert cost == pytest.approx(sum(c for c, _ in by_hand), rel=1e-13)
    np.testing.assert_allclose(gradient, sum(d for _, d in by_hand), rtol=1e-11)
    module = watched(monkeypatch, soft_dtw, "ALIGN")
    by_differences = demo.central_differences(lambda s: module.costs(s, y, 0.3).sum(), x)
    np.testing.assert_allclose(gradient, by_differences, rtol=1e-8, atol=1e-9)


def test_the_mean_of_bumps_is_a_bump():
    y = soft_dtw.bumps()
    flat = y.mean(axis=0)
    found = soft_dtw.mean(y)
    assert found.fun < soft_dtw.costs(flat, y).sum() - 1.0
    assert flat.max() < 0.6 and found.x.max() > 0.85
