"""Reading: a user's function becomes a program of the IR."""

from numbaflux.frontend.program import read, read_kernel
from numbaflux.frontend.signature import argument

__all__ = ["argument", "read", "read_kernel"]
