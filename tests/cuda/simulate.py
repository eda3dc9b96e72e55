"""Derivatives on Numba's simulator of CUDA, against the emulator: `python -m tests.cuda.simulate`.

A script, for the simulator is chosen when numba.cuda is imported: NUMBA_ENABLE_CUDASIM=1.
"""

import sys
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numba import cuda

import numbaflux as nf
from tests.cuda.hosts import halve, pulled, trajectory
from tests.cuda.kernels import BLOCK, KERNELS, VECTOR, Case

N = 300  # elements; the simulator runs a few thousand threads a second

emulate = partial(nf.cuda.emulate, check=False)


@cuda.jit
def mirror(x, out):
    """A block turned round, by way of dynamic shared memory."""
    squares = cuda.shared.array(0, np.float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    squares[t] = x[i] * x[i] if i < x.shape[0] else np.float32(0)
    cuda.syncthreads()
    if i < x.shape[0]:
        out[i] = squares[BLOCK - 1 - t] * x[i]


@cuda.jit
def horner(x, out):
    """A local array, a power, rounding, and what is not the same name in CUDA."""
    coefficients = cuda.local.array(4, np.float32)
    i = cuda.grid(1)
    if i < x.shape[0]:
        for k in range(4):
            coefficients[k] = x[i] ** k + np.floor(x[i])
        total = np.float32(0)
        for k in range(4):
            total = total * x[i] + np.maximum(coefficients[k], np.sign(x[i]))
        out[i] = total


def _vectors(n, rng):
    return rng.uniform(0.5, 1.5, n).astype(np.float32), np.zeros(n, np.float32)


# The simulator has no dynamic memory for NumPy's types: only for other tests.
MIRROR = Case(
    "mirror", mirror, (VECTOR, VECTOR), (0, 1),
    lambda n: (-(-n // BLOCK), BLOCK, 0, 4 * BLOCK), _vectors,
)  # fmt: skip
HORNER = Case(
    "horner", horner, (VECTOR, VECTOR), (0, 1), lambda n: (-(-n // BLOCK), BLOCK), _vectors
)

# One of each kind: compiling for the emulator is what takes the time.
NAMES = ("saxpy_active", "diffuse", "block_product", "dot", "newton")
SIMULATED = (*(case for case in KERNELS if case.name in NAMES), HORNER)


def arguments(case: Case, form: str, n: int, seed: int = 0) -> list:
    """Arguments of a derivative, with shadows of random numbers."""
    rng = np.random.default_rng(seed)
    made: list = []
    for i, x in enumerate(case.arguments(n, rng)):
        if i not in case.active:
            made.append(x)
        elif isinstance(x, np.ndarray):
            made.append(nf.Dup(x, rng.uniform(-1, 1, x.shape).astype(x.dtype)))
        else:
            shadow = np.zeros(1, np.float32) if form == "adjoint" else np.float32(1)
            made.append(nf.Dup(x, shadow))
    return made


def shadows(args: list) -> list[np.ndarray]:
    return [a.shadow for a in args if isinstance(a, nf.Dup) and isinstance(a.shadow, np.ndarray)]


def host_programs() -> Iterator[tuple[str, list[np.ndarray], list[np.ndarray]]]:
    """A vjp, and a Tape without and with checkpoints: arrays of the device, of the emulator."""
    vjp = nf.cuda.vjp(halve)
    found = pulled(vjp, cuda.to_device)
    yield "vjp", _fetched(found), list(pulled(emulate(vjp), np.array))
    for checkpointed in (False, True):
        found = trajectory(nf.cuda.launch, cuda.to_device, checkpointed)[1]
        wanted = trajectory(emulate, np.array, checkpointed)[1]
        yield "checkpoint" if checkpointed else "Tape", _fetched(found), wanted


def _fetched(arrays: Iterable) -> list[np.ndarray]:
    return [a.copy_to_host() for a in arrays]


def main() -> int:
    for case in SIMULATED:
        for form in ("tangent", "adjoint"):
            derivative = getattr(nf.cuda, form)(case.kernel)
            mine, theirs = (arguments(case, form, N) for _ in range(2))
            emulate(derivative)[case.launch(N)](*mine)
            derivative[case.launch(N)](*theirs)
            for a, b in zip(shadows(mine), shadows(theirs), strict=True):
                np.testing.assert_allclose(
                    a, b, rtol=2e-3, atol=1e-4, err_msg=f"{form} {case.name}"
                )
            print(f"{form} of {case.name} agrees")
    for name, found, wanted in host_programs():
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=name)
        print(f"{name} agrees")
    return 0


if __name__ == "__main__":
    sys.exit(main())
