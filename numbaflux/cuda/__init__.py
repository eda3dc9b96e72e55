"""Derivatives of CUDA kernels: `numbaflux.cuda`."""

from numbaflux.cuda.emulator import DivergentBarrierError, Emulation, emulate
from numbaflux.cuda.public import adjoint, tangent, vjp

__all__ = ["DivergentBarrierError", "Emulation", "adjoint", "emulate", "tangent", "vjp"]
