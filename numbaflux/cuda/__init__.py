"""Derivatives of CUDA kernels: `numbaflux.cuda`."""

from numbaflux.cuda.emulator import DivergentBarrierError, Emulation, emulate
from numbaflux.cuda.public import adjoint, tangent

__all__ = ["DivergentBarrierError", "Emulation", "adjoint", "emulate", "tangent"]
