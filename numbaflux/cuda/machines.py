"""Which machine an array is on."""

from __future__ import annotations

from typing import Any

from numbaflux.cuda.arguments import is_array, on_host
from numbaflux.cuda.device import compiler_of, memory_of
from numbaflux.cuda.emulator import Emulator
from numbaflux.cuda.execution import Machine

HOST = Emulator(check=True, unwritten="nan", order="forward", seed=0)


def machine_of(array: Any) -> Machine:
    """The machine whose memory an array lies in."""
    if on_host(array):
        return HOST
    if is_array(array) and (
        hasattr(array, "__cuda_array_interface__") or hasattr(array, "copy_to_host")
    ):
        return memory_of(compiler_of(array))
    raise TypeError(f"a {type(array).__name__} is not an array that kernels run on here")
