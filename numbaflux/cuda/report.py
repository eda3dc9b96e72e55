"""What a derivative of a kernel costs on a GPU, and why: `report`."""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from numbaflux.cuda.arguments import types_of
from numbaflux.cuda.device import NoCudaError
from numbaflux.cuda.execution import Configured, Prepared, dtype_of
from numbaflux.cuda.kernel import KernelDerivative, launched, lengths, name_of
from numbaflux.cuda.static import Static, analyse, together
from numbaflux.passes.kernels.owner import Verdict
from numbaflux.transforms.kernels.launches import Launched

USUAL = (2, 128)  # the launch that is meant where none is given


@dataclass(frozen=True, slots=True)
class Report:
    """What `report` found; printed, it is a text.

    `tape`: bytes that a launch keeps from its way there for its way back, None if that is only
    known then.  `static` is None without the tools to make machine code; `missing` then says which
    it is.  `verdicts` tell for every addition to a shadow whether it is atomic, and why; so many
    `launches` one after the other are made of it.
    """

    name: str
    static: Static | None
    tape: int | None
    verdicts: tuple[Verdict, ...]
    missing: str = ""
    launches: int = 1

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.name if self.launches == 1 else f"{self.name}: {self.launches} launches"
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
        tape = "known when it is launched" if self.tape is None else f"{self.tape} bytes"
        yield f"  tape          {tape}"
        for verdict in self.verdicts:
            kind = "plain " if verdict.plain else "atomic"
            yield f"  {verdict.array} += ...  {kind}  {verdict.why}"
            line = linecache.getline(verdict.loc.file, verdict.loc.line).strip()
            yield f"    {verdict.loc}  {line}"


def report(derivative: KernelDerivative | Configured, *args: object) -> Report:
    """Print, and return, what `derivative`, or `derivative[grid, block]`, costs with arguments.

    Arguments may be given by their Numba types.  Nothing is launched and no GPU is needed, but
    numba-cuda, ptxas and nvdisasm are, without which only the additions to shadows are listed.
    """
    configured = _configured(derivative)
    found, kernels = _made(configured, args)
    static, missing = None, ""
    try:
        static = together([analyse(k.compiled) for k in kernels])
    except NoCudaError as error:
        missing = str(error).splitlines()[0]
    name, tape = name_of(configured.kernel), _tape(configured, kernels[-1], args)
    made = Report(name, static, tape, found.verdicts, missing, len(kernels))
    print(made)
    return made


def analysed(derivative: KernelDerivative | Configured, *args: object) -> Static:
    """The numbers of a report alone.  Raises NoCudaError if a tool for them is not installed."""
    return together([analyse(k.compiled) for k in _made(_configured(derivative), args)[1]])


def source(derivative: KernelDerivative | Configured, *args: object) -> str:
    """The code generated for `derivative`, or `derivative[grid, block]`, with these arguments.

    Arguments may be given by their Numba types.
    """
    return "\n\n".join(k.compiled.text for k in _made(_configured(derivative), args)[1])


def _configured(derivative: KernelDerivative | Configured) -> Configured:
    return derivative if isinstance(derivative, Configured) else derivative[USUAL]


def _made(configured: Configured, args: Sequence[object]) -> tuple[Launched, list[Prepared]]:
    """The program, and the kernels that are launched for it."""
    executor, launch = configured.executor, configured.launch
    found = launched(configured.kernel, types_of(args), launch.known())
    kernels = [executor.prepared(p, launch.longer(p.more).known()) for p in found.launches]
    return found, kernels


def _tape(configured: Configured, prepared: Prepared, args: Sequence[object]) -> int | None:
    """The bytes of the tapes of one launch; None if they are only known when it is launched."""
    try:
        shapes = lengths(prepared.taped, configured.launch, args)
    except (KeyError, ValueError, AttributeError):
        return None  # types were given
    total = 0
    for tape, shape in zip(prepared.taped.tapes, shapes):
        if shape is None:
            return None
        total += prod(shape) * configured.launch.threads * dtype_of(tape).itemsize
    return total
