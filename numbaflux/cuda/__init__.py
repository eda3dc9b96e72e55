"""Derivatives of CUDA kernels: `numbaflux.cuda`."""

from numbaflux.cuda.emulator import DivergentBarrierError, Emulation, emulate
from numbaflux.cuda.loops import checkpoint
from numbaflux.cuda.public import adjoint, tangent, vjp
from numbaflux.cuda.tape import Gradients, Tape, copy

__all__ = [
    "DivergentBarrierError",
    "Emulation",
    "Gradients",
    "Tape",
    "adjoint",
    "checkpoint",
    "copy",
    "emulate",
    "tangent",
    "vjp",
]
