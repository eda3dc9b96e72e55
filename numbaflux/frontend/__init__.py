"""Reading: a user's function becomes a program of the IR."""

from numbaflux.frontend.program import argument, read

__all__ = ["argument", "read"]
