"""Reading: a user's function becomes a program of the IR."""

from numbaflux.frontend.program import read

__all__ = ["read"]
