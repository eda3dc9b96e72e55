"""Derivatives of CUDA kernels: `numbaflux.cuda`."""

from numbaflux.cuda.emulator import Emulation, emulate
from numbaflux.cuda.memory import OutOfBoundsError, RaceError, UnwrittenError
from numbaflux.cuda.public import adjoint, tangent, vjp
from numbaflux.cuda.scheduler import DivergentBarrierError

__all__ = [
    "DivergentBarrierError",
    "Emulation",
    "OutOfBoundsError",
    "RaceError",
    "UnwrittenError",
    "adjoint",
    "emulate",
    "tangent",
    "vjp",
]
