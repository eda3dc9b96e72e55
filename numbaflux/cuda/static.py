"""What a kernel is on a GPU, found out without one: PTX, ptxas, nvdisasm.

Needs numba-cuda, libNVVM and NVRTC, ptxas and nvdisasm: `pip install numbaflux[cuda]`.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numbaflux.backends.cpu import numba_type
from numbaflux.cuda.device import OPTIONS, DeviceKernel, NoCudaError

CAPABILITY = (9, 0)  # of the GPU to compile for: an H100's
LAYOUTS = ("nvidia/cu13/bin", "nvidia/cuda_nvcc/bin", "nvidia/cuda_nvdisasm/bin")  # of the wheels
DOUBLE = re.compile(r"D(ADD|MUL|FMA|SETP|MNMX|SET)|\w+\.(\w+\.)*(F64|64H)")
NOTHING = ("NOP",)  # instructions that only fill up


@dataclass(frozen=True, slots=True)
class Static:
    """A kernel after ptxas: memory in bytes, the rest numbers of machine instructions.

    `reductions` are atomic operations on global memory that return nothing, `atomics` those that
    do; `loops` are those of either memory that are done by trying again (compare and swap).
    """

    registers: int
    stack: int
    spills: int
    shared: int
    instructions: int
    reductions: int
    atomics: int
    shared_atomics: int
    loops: int
    local: int  # loads and stores of local memory
    float64: int
    barriers: int

    def numbers(self) -> dict[str, int]:
        return asdict(self)


def together(kernels: Sequence[Static]) -> Static:
    """Kernels that are launched one after the other: what each of them needs, what all do."""
    numbers = [kernel.numbers() for kernel in kernels]
    each = ("registers", "stack", "spills", "shared")
    return Static(
        **{key: (max if key in each else sum)(n[key] for n in numbers) for key in numbers[0]}
    )


def analyse(kernel: DeviceKernel, capability: tuple[int, int] = CAPABILITY) -> Static:
    """Compile a derivative's kernel as far as machine code, and count.

    Raises NoCudaError if a tool for that is not installed.
    """
    types = ", ".join(numba_type(p.type) for p in kernel.program.function.params)
    dispatcher = kernel.dispatcher
    return counted(dispatcher.py_func, f"void({types})", dispatcher.targetoptions, capability)


def counted(
    f: Callable[..., None],
    signature: Any,
    options: Mapping[str, Any],
    capability: tuple[int, int] = CAPABILITY,
) -> Static:
    """The same of a kernel of the user's, for arguments of a signature."""
    text = ptx(f, signature, options, capability)
    ptxas, nvdisasm = tool("ptxas"), tool("nvdisasm")
    with tempfile.TemporaryDirectory() as folder:
        source, code = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(text)
        arch = f"-arch=sm_{capability[0]}{capability[1]}"
        told = _output([ptxas, "-v", arch, str(source), "-o", str(code)])
        return _static(told, list(opcodes(_output([nvdisasm, "-c", str(code)]))))


def ptx(
    f: Callable[..., None],
    signature: Any,
    options: Mapping[str, Any],
    capability: tuple[int, int] = CAPABILITY,
) -> str:
    """A kernel in the assembly language of CUDA's virtual machine."""
    if find_spec("numba_cuda") is None:
        raise NoCudaError(_missing("numba-cuda"))
    cuda = import_module("numba.cuda")
    kept = {name: value for name, value in options.items() if name in OPTIONS}
    return cuda.compile_ptx(f, signature, cc=capability, **kept)[0]


@functools.cache
def tool(name: str) -> str:
    """The path of a program of the CUDA toolkit: from the wheels beside us, or on PATH.

    Raises NoCudaError if it is not there.
    """
    roots = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    beside = (Path(root, layout, name) for root in roots for layout in LAYOUTS)
    found = next((str(p) for p in beside if p.exists()), None) or shutil.which(name)
    if found is None:
        raise NoCudaError(_missing(name))
    return found


def _missing(name: str) -> str:
    return (
        f"{name} was not found\n"
        "  why      numba-cuda and ptxas make machine code, nvdisasm shows it\n"
        "  instead  install them: pip install 'numbaflux[cuda]'"
    )


def opcodes(listing: str) -> Iterator[str]:
    """The operation of every instruction in what nvdisasm prints."""
    for code in re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", listing):
        if code not in NOTHING:
            yield code


def _static(told: str, codes: list[str]) -> Static:
    def number(pattern: str) -> int:
        return sum(int(n) for n in re.findall(pattern, told))

    kinds = Counter(code.split(".")[0] for code in codes)
    return Static(
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        shared=number(r"(\d+) bytes smem"),
        instructions=len(codes),
        reductions=kinds["RED"] + kinds["REDG"],
        atomics=kinds["ATOM"] + kinds["ATOMG"],
        shared_atomics=kinds["ATOMS"],
        loops=sum(".CAS" in code for code in codes),
        local=kinds["LDL"] + kinds["STL"],
        float64=sum(DOUBLE.match(code) is not None for code in codes),
        barriers=kinds["BAR"],
    )


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoCudaError(f"{command[0]} failed:\n{done.stderr}")
    return done.stdout + done.stderr
