"""Fit the six unknowns of Lotka-Volterra to the pelts by L-BFGS, with numbaflux's gradient."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import approx_fprime, minimize

import numbaflux as nf
from numbaflux.demo import lotka_volterra as lv

START = np.array([0.5, 0.025, 0.8, 0.025, 30.0, 4.0])
PUBLISHED = (0.55, 0.028, 0.80, 0.024, None, None)
"""Posterior means of Carpenter's Stan case study (2018)."""


class Fit(NamedTuple):
    """Fitted parameters, final loss, how many gradients it took."""

    theta: np.ndarray
    loss: float
    gradients: int


def fit(counts: np.ndarray, say: Callable[[str], None] = print) -> Fit:
    """Minimise the loss from `START`, a line of progress for every iteration."""
    value_and_grad = nf.value_and_grad(lv.loss)

    def objective(log_theta: np.ndarray) -> tuple[float, np.ndarray]:
        return value_and_grad(log_theta, counts, lv.STEPS_PER_YEAR)

    iteration = 0

    def progress(intermediate_result: Any) -> None:
        nonlocal iteration
        iteration += 1
        theta = np.exp(intermediate_result.x)
        say(f"  {iteration:3d}  loss {intermediate_result.fun:10.6f}   " + rates_line(theta))

    found = minimize(
        objective, np.log(START), jac=True, method="L-BFGS-B", callback=progress, tol=1e-12
    )
    return Fit(np.exp(found.x), float(found.fun), int(found.njev))


def rates_line(theta: np.ndarray) -> str:
    """The four rates, on one line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in zip(lv.NAMES[:4], theta[:4]))


def comparison(theta: np.ndarray) -> str:
    """The fit beside the published posterior means, as a table."""
    lines = [f"  {'parameter':12} {'fitted':>8} {'published':>10}"]
    for name, value, published in zip(lv.NAMES, theta, PUBLISHED):
        right = "" if published is None else f"{published:10.3f}"
        lines.append(f"  {name:12} {value:8.3f} {right}".rstrip())
    return "\n".join(lines)


def central_differences(f: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """The gradient of f at x by fourth-order central differences."""
    out = np.empty_like(x)
    for i in range(x.size):
        step = np.zeros_like(x)
        step[i] = 1e-3 * max(1.0, abs(x[i]))
        near = f(x + step) - f(x - step)
        far = f(x + 2 * step) - f(x - 2 * step)
        out[i] = (8.0 * near - far) / (12.0 * step[i])
    return out


def gradient_error(theta: np.ndarray, counts: np.ndarray) -> float:
    """Largest relative difference between the gradient and finite differences at theta."""
    x = np.log(theta)
    exact = nf.grad(lv.loss)(x, counts, lv.STEPS_PER_YEAR)
    approximate = central_differences(lambda y: lv.loss(y, counts, lv.STEPS_PER_YEAR), x)
    return float(np.max(np.abs(exact - approximate)) / np.max(np.abs(approximate)))


def best_time(f: Callable[[], object], repeats: int = 200) -> float:
    """Seconds of the fastest of `repeats` calls; the first, which may compile, is not counted."""
    f()
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - begin)
    return best


def timing_lines(counts: np.ndarray) -> str:
    """Primal, gradient and one-sided finite differences, in multiples of the primal."""
    x, n = np.log(START), lv.STEPS_PER_YEAR
    gradient = nf.value_and_grad(lv.loss)
    primal = best_time(lambda: lv.loss(x, counts, n))
    reverse = best_time(lambda: gradient(x, counts, n))
    differences = best_time(lambda: approx_fprime(x, lv.loss, 1e-8, counts, n))
    return "\n".join(
        [
            f"  simulation             {1e6 * primal:8.1f} us      1.0",
            f"  its value and gradient {1e6 * reverse:8.1f} us {reverse / primal:8.1f}",
            f"  finite differences     {1e6 * differences:8.1f} us {differences / primal:8.1f}",
        ]
    )


def save_plot(theta: np.ndarray, data: lv.Pelts, path: Path) -> bool:
    """Draw counts and fitted populations into `path`; False if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    per_year = 20
    scaled = np.concatenate([theta[:4] / per_year, theta[4:]])  # `simulate` writes once a year
    smooth = lv.trajectory(scaled, per_year * (len(data.years) - 1) + 1)
    clock = data.years[0] + np.arange(smooth.shape[0]) / per_year
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for species, (name, colour) in enumerate((("hare", "tab:blue"), ("lynx", "tab:red"))):
        axes.plot(clock, smooth[:, species], color=colour, label=f"{name}, fitted")
        axes.plot(data.years, data.counts[:, species], "o", color=colour, label=f"{name}, pelts")
    axes.set(xlabel="year", ylabel="thousands", title="Lotka-Volterra, fitted by numbaflux")
    axes.legend()
    figure.savefig(path, dpi=150)
    return True


def main(plot: Path = Path("lynx_hare.png")) -> None:
    """The whole demonstration, printed while it runs."""
    data = lv.pelts()
    print(
        f"Lotka-Volterra, {len(data.years)} years of pelts of the Hudson's Bay Company", flush=True
    )
    print("Compiling the simulation and its gradient ...", flush=True)
    begin = time.perf_counter()
    nf.value_and_grad(lv.loss)(np.log(START), data.counts, lv.STEPS_PER_YEAR)
    print(f"  {time.perf_counter() - begin:.1f} s\n\nFitting by L-BFGS", flush=True)
    result = fit(data.counts, say=lambda line: print(line, flush=True))
    print(f"\nFitted with {result.gradients} gradients, loss {result.loss:.6f}")
    print(comparison(result.theta))
    error = gradient_error(START, data.counts)
    print(f"\nGradient against finite differences: largest relative difference {error:.1e}")
    print("\nTime of a call, and in simulations")
    print(timing_lines(data.counts))
    if save_plot(result.theta, data, plot):
        print(f"\nPlot saved: {plot}")
