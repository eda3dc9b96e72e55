"""The errors a user may meet, and the only code that formats them.

Four parts: what cannot be done, where (with the source line), why, and what to write instead.
"""

from __future__ import annotations

import linecache
from collections.abc import Sequence

from numbaflux.ir.nodes import Loc


class NumbafluxError(Exception):
    """What every error of this library is."""


class UnsupportedError(NumbafluxError, NotImplementedError):
    """The function uses something that cannot be differentiated, or not yet.

    `what`, `why`, `instead` are sentences without a full stop; `loc` is the user's line.
    """

    def __init__(self, what: str, loc: Loc | None, why: str, instead: str) -> None:
        self.what, self.loc, self.why, self.instead = what, loc, why, instead
        super().__init__(message(what, loc, why, instead))


class NotDifferentiableError(NumbafluxError, TypeError):
    """A derivative was asked for with respect to, or of, something that has none."""

    def __init__(self, what: str, loc: Loc | None, why: str, instead: str) -> None:
        self.what, self.loc, self.why, self.instead = what, loc, why, instead
        super().__init__(message(what, loc, why, instead))


class InternalError(NumbafluxError, AssertionError):
    """One of our own invariants does not hold: a defect of this library, please report it."""


def message(what: str, where: Loc | Sequence[Loc] | None, why: str, instead: str) -> str:
    """The four parts as text."""
    lines = [what]
    for loc in (where,) if isinstance(where, Loc) else where or ():
        lines.append(f"  {loc}" + (f" in {loc.function}" if loc.function else ""))
        source = linecache.getline(loc.file, loc.line).rstrip()
        if source:
            lines.append(f"    {loc.line:4} | {source}")
    lines += [f"  why      {why}", f"  instead  {instead}"]
    return "\n".join(lines)
