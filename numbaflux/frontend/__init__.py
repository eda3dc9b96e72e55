"""Reading: a user's function becomes a program of the IR."""

from numbaflux.frontend.program import read
from numbaflux.frontend.signature import argument

__all__ = ["argument", "read"]
