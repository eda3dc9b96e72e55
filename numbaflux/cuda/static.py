"""What a kernel is on a GPU, found out without one: PTX, ptxas, nvdisasm.

Needs numba-cuda or numba-cuda-mlir, whichever the kernel is of, libNVVM and NVRTC, ptxas and
nvdisasm: `pip install numbaflux[cuda]`, or `numbaflux[cuda-mlir]`.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from numbaflux.backends.cpu import numba_type
from numbaflux.cuda.device import MLIR, DeviceKernel, NoCudaError, compiler_of, options_of

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
    """Compile a derivative's kernel as far as machine code, by its own compiler, and count.

    Raises NoCudaError if a tool for that is not installed.
    """
    types = ", ".join(numba_type(p.type) for p in kernel.program.function.params)
    return counted(kernel.dispatcher, f"void({types})", capability)


def counted(kernel: Any, signature: str, capability: tuple[int, int] = CAPABILITY) -> Static:
    """The same of a kernel that `cuda.jit` made, for arguments of a signature."""
    text = ptx(kernel, signature, capability)
    ptxas, nvdisasm = tool("ptxas"), tool("nvdisasm")
    with tempfile.TemporaryDirectory() as folder:
        source, code = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(text)
        arch = f"-arch=sm_{capability[0]}{capability[1]}"
        told = _output([ptxas, "-v", arch, str(source), "-o", str(code)])
        return _static(told, list(opcodes(_output([nvdisasm, "-c", str(code)]))))


def ptx(kernel: Any, signature: str, capability: tuple[int, int] = CAPABILITY) -> str:
    """A kernel in the assembly language of CUDA's virtual machine."""
    compiler = compiler_of(kernel)
    package = "numba_cuda" if compiler == "numba" else compiler
    if find_spec(package) is None:
        raise NoCudaError(_missing(package.replace("_", "-")))
    compile = import_module(f"{compiler}.cuda").compile
    how = {"device": False, "abi": "numba", "output": "ptx", "cc": capability}
    with _without_a_driver(compiler, capability):
        return compile(kernel.py_func, signature, **how, **options_of(kernel))[0]


@contextmanager
def _without_a_driver(compiler: str, capability: tuple[int, int]) -> Iterator[None]:
    """Both ask it what GPU there is, whatever `cc` says: numba-cuda 0.30 for the functions that a
    kernel calls, numba-cuda-mlir 0.6 always."""
    if compiler == MLIR:
        owner, name, value = f"{MLIR}.tools", "_cached_cc", capability
    else:
        device = SimpleNamespace(compute_capability=capability)
        owner, name, value = "numba.cuda.dispatcher", "get_current_device", lambda: device
    module = import_module(owner)
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


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
        "  why      a compiler and ptxas make machine code, nvdisasm shows it\n"
        "  instead  install them: pip install 'numbaflux[cuda]', or 'numbaflux[cuda-mlir]'"
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
