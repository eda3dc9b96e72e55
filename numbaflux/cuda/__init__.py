"""Derivatives of CUDA kernels: `numbaflux.cuda`."""

from numbaflux.cuda.device import NoCudaError
from numbaflux.cuda.emulator import emulate
from numbaflux.cuda.execution import Launchable
from numbaflux.cuda.loops import checkpoint
from numbaflux.cuda.memory import OutOfBoundsError, RaceError, UnwrittenError
from numbaflux.cuda.public import adjoint, launch, tangent, vjp
from numbaflux.cuda.report import Report, report, source
from numbaflux.cuda.scheduler import DivergentBarrierError
from numbaflux.cuda.tape import Gradients, Tape, copy

__all__ = [
    "DivergentBarrierError",
    "Gradients",
    "Launchable",
    "NoCudaError",
    "OutOfBoundsError",
    "RaceError",
    "Report",
    "Tape",
    "UnwrittenError",
    "adjoint",
    "checkpoint",
    "copy",
    "emulate",
    "launch",
    "report",
    "source",
    "tangent",
    "vjp",
]
