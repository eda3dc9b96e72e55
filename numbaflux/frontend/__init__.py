"""Reading: a user's function becomes a program of the IR."""

from numbaflux.frontend import device_math, device_random
from numbaflux.frontend.program import read, read_kernel
from numbaflux.frontend.signature import argument

__all__ = ["argument", "device_math", "device_random", "read", "read_kernel"]
