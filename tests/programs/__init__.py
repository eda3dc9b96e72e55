"""Named loop programs: a corpus of what numbaflux must read, each smooth at its arguments."""

from tests.programs import (
    arrays,
    containers,
    control,
    expressions,
    found,
    functions,
    inplace,
    recursive,
    scalars,
)
from tests.programs.program import Program

MODULES = (scalars, control, arrays, expressions, functions, inplace, containers, recursive, found)
PROGRAMS: tuple[Program, ...] = tuple(p for module in MODULES for p in module.PROGRAMS)
