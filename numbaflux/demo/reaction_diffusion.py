"""A population that spreads in the plane: its diffusion and growth, from one late photograph.

du/dt = diffusion * laplacian(u) + growth * u * (1 - u)   (Fisher, KPP), by explicit Euler steps
that are launches of a CUDA kernel: on a GPU, or without one on numbaflux's emulator.
"""

# pyright: reportCallIssue=false, reportArgumentType=false
# numba.cuda declares its functions as classes, for its own typing.

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, float64
from scipy.optimize import minimize

import numbaflux as nf
from numbaflux.demo.fit import central_differences

CELLS, STEPS, SLOTS = 32, 200, 8
SIDE = 8  # of a block of threads
THREADS = SIDE * SIDE
NOISE = 0.02
NAMES = ("diffusion", "growth")
TRUTH = np.array([0.16, 0.035])
START = np.array([0.05, 0.06])


@cuda.jit
def spread(rates, u, v):
    """One step, from u to v; nothing crosses the border."""
    i, j = cuda.grid(2)
    n, m = u.shape
    if i < n and j < m:
        here = u[i, j]
        around = u[max(i - 1, 0), j] + u[min(i + 1, n - 1), j]
        around += u[i, max(j - 1, 0)] + u[i, min(j + 1, m - 1)]
        v[i, j] = here + rates[0] * (around - 4.0 * here) + rates[1] * here * (1.0 - here)


@cuda.jit
def misfit(u, seen, loss):
    """loss += half the sum of squares of u - seen."""
    part = cuda.shared.array(THREADS, float64)
    i, j = cuda.grid(2)
    t = cuda.threadIdx.x + SIDE * cuda.threadIdx.y
    part[t] = 0.0
    if i < u.shape[0] and j < u.shape[1]:
        part[t] = 0.5 * (u[i, j] - seen[i, j]) ** 2
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            part[t] += part[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        cuda.atomic.add(loss, 0, part[0])


class Place(NamedTuple):
    """Where kernels run: how they are launched, and how arrays get there and back."""

    run: Callable[[Any], Any]
    put: Callable[[np.ndarray], Any]
    fetched: Callable[[Any], np.ndarray]


CPU = Place(lambda kernel: nf.cuda.emulate(kernel, check=False), np.array, np.asarray)
GPU = Place(nf.cuda.launch, cuda.to_device, lambda array: array.copy_to_host())
PLACE = GPU if cuda.is_available() else CPU
SPREAD, MISFIT = PLACE.run(spread), PLACE.run(misfit)  # a test watches both


def launch(kernel: Any, field: Any, *args: Any) -> None:
    """A thread for each cell of a field."""
    blocks = tuple((n + SIDE - 1) // SIDE for n in field.shape)
    kernel[blocks, (SIDE, SIDE)](*args)


def settlers() -> np.ndarray:
    """The population at first: a few small groups."""
    u = np.zeros((CELLS, CELLS))
    for i, j in np.random.default_rng(3).integers(4, CELLS - 4, (3, 2)):
        u[i - 2 : i + 3, j - 2 : j + 3] = 0.5
    return u


def simulate(rates: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The population after all steps."""
    return PLACE.fetched(run(PLACE.put(rates), PLACE.put(u)))


def run(rates: Any, u: Any) -> Any:
    """The same where kernels run.  On a tape, SLOTS snapshots of the steps are kept."""

    def step(t: int, state: tuple[Any, ...]) -> tuple[Any, ...]:
        now, after = state
        launch(SPREAD, now, rates, now, after)
        return after, now

    return nf.cuda.checkpoint(step, STEPS, (u, PLACE.put(np.zeros(u.shape))), SLOTS)[0]


def photograph(noise: float = NOISE) -> np.ndarray:
    """What is seen of the true population in the end."""
    error = np.random.default_rng(4).standard_normal((CELLS, CELLS))
    return simulate(TRUTH, settlers()) + noise * error


def loss(rates: np.ndarray, seen: np.ndarray) -> float:
    total, there = PLACE.put(np.zeros(1)), PLACE.put(seen)
    launch(MISFIT, there, run(PLACE.put(rates), PLACE.put(settlers())), there, total)
    return float(PLACE.fetched(total)[0])


def loss_and_gradient(rates: np.ndarray, seen: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss and its gradient, by the adjoints of the launches in reverse."""
    total, there, wanted = PLACE.put(np.zeros(1)), PLACE.put(seen), PLACE.put(rates)
    with nf.cuda.Tape(constant=[there]) as tape:
        launch(MISFIT, there, run(wanted, PLACE.put(settlers())), there, total)
    gradient = tape.backward(total)[wanted]
    return float(PLACE.fetched(total)[0]), PLACE.fetched(gradient)


class Fit(NamedTuple):
    """Fitted rates, final loss, how many gradients it took."""

    rates: np.ndarray
    loss: float
    gradients: int


def fit(seen: np.ndarray, say: Callable[[str], None] = print) -> Fit:
    """Minimise the loss over the logarithms of the rates, from `START`, by L-BFGS."""

    def objective(log_rates: np.ndarray) -> tuple[float, np.ndarray]:
        rates = np.exp(log_rates)
        value, gradient = loss_and_gradient(rates, seen)
        return value, gradient * rates

    iteration = 0

    def progress(intermediate_result: Any) -> None:
        nonlocal iteration
        iteration += 1
        found = "  ".join(f"{n} {r:.5f}" for n, r in zip(NAMES, np.exp(intermediate_result.x)))
        say(f"  {iteration:3d}  loss {intermediate_result.fun:10.6f}   {found}")

    bounds = [(np.log(1e-4), np.log(0.24))] * 2  # beyond, the steps are unstable
    found = minimize(
        objective,
        np.log(START),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        callback=progress,
        tol=1e-7,
    )
    return Fit(np.exp(found.x), float(found.fun), int(found.njev))


def gradient_error(rates: np.ndarray, seen: np.ndarray) -> float:
    """Largest relative difference between the gradient and finite differences."""
    _, exact = loss_and_gradient(rates, seen)
    approximate = central_differences(lambda r: loss(r * rates, seen), np.ones(2)) / rates
    return float(np.max(np.abs(exact / approximate - 1.0)))


def comparison(rates: np.ndarray) -> str:
    """The truth beside the fit, as a table."""
    lines = [f"  {'rate':12} {'truth':>8} {'fitted':>8} {'error':>8}"]
    for name, true, fitted in zip(NAMES, TRUTH, rates):
        lines.append(f"  {name:12} {true:8.4f} {fitted:8.4f} {fitted / true - 1:8.2%}")
    return "\n".join(lines)


def save_plot(rates: np.ndarray, seen: np.ndarray, path: Path) -> bool:
    """Draw the population at first, as seen and as fitted; False if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3), layout="constrained")
    fields = {
        "at first": settlers(),
        f"seen after {STEPS} steps": seen,
        "fitted": simulate(rates, settlers()),
    }
    for axes, (title, field) in zip(figure.subplots(1, 3), fields.items()):
        axes.imshow(field, vmin=0.0, vmax=1.0)
        axes.set_title(title)
        axes.set_axis_off()
    figure.savefig(path, dpi=120)
    return True


def main(plot: Path = Path("reaction_diffusion.png")) -> None:
    """The whole demonstration, printed while it runs."""
    print(f"A population on {CELLS} x {CELLS} cells, seen once, after {STEPS} steps", flush=True)
    print("Compiling the kernels and their adjoints for the CPU ...", flush=True)
    begin = time.perf_counter()
    seen = photograph()
    loss_and_gradient(START, seen)
    print(f"  {time.perf_counter() - begin:.1f} s\n\nFitting by L-BFGS", flush=True)
    begin = time.perf_counter()
    result = fit(seen, say=lambda line: print(line, flush=True))
    took = time.perf_counter() - begin
    print(f"\nFitted with {result.gradients} gradients in {took:.1f} s, loss {result.loss:.6f}")
    print(f"For a gradient {SLOTS} snapshots were kept of {STEPS} steps")
    print(comparison(result.rates))
    error = gradient_error(START, seen)
    print(f"\nGradient against finite differences: largest relative difference {error:.1e}")
    if save_plot(result.rates, seen, plot):
        print(f"\nPlot saved: {plot}")
