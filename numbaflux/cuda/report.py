"""What a derivative of a kernel costs on a GPU, and why: `report`."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from dataclasses import dataclass

from numbaflux.cuda.device import NoCudaError
from numbaflux.cuda.kernel import KernelDerivative, types_of
from numbaflux.cuda.static import Static, analyse
from numbaflux.passes.owner import Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """What `report` found; printed, it is a text.

    `static` is None without the tools to make machine code, and `missing` then says which.
    `verdicts` tell for every addition to a shadow whether it is atomic, and why.
    """

    name: str
    static: Static | None
    verdicts: tuple[Verdict, ...]
    missing: str = ""

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.name
        if self.static is None:
            yield f"  {self.missing}"
        else:
            s = self.static
            yield f"  registers     {s.registers} a thread, {s.spills} bytes spilled"
            yield f"  memory        {s.shared} bytes shared, {s.stack} bytes of stack"
            yield f"  instructions  {s.instructions}, of them {s.float64} in float64"
            yield (
                f"  atomics       {s.reductions + s.atomics} global, {s.shared_atomics} shared,"
                f" {s.loops} of them loops"
            )
        for verdict in self.verdicts:
            kind = "plain " if verdict.plain else "atomic"
            yield f"  {verdict.array} += ...  {kind}  {verdict.why}"
            line = linecache.getline(verdict.loc.file, verdict.loc.line).strip()
            yield f"    {verdict.loc}  {line}"


def report(derivative: KernelDerivative, *args: object) -> Report:
    """Print, and return, what a derivative costs when it is launched flat with these arguments.

    Arguments may be given by their Numba types.  Nothing is launched and no GPU is needed, but
    numba-cuda, ptxas and nvdisasm are, without which only the additions to shadows are listed.
    """
    found = derivative.launched(types_of(args), flat=True)
    static, missing = None, ""
    try:
        static = analyse(derivative.kernel(found))
    except NoCudaError as error:
        missing = str(error).splitlines()[0]
    made = Report(derivative.__name__, static, found.verdicts, missing)
    print(made)
    return made


def source(derivative: KernelDerivative, *args: object) -> str:
    """The code that is generated for a derivative launched flat with these arguments, or types."""
    return derivative.kernel(derivative.launched(types_of(args), flat=True)).text
