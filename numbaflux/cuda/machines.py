"""Which machine an array is on."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbaflux.cuda.emulator import Emulator
from numbaflux.cuda.execution import Machine

HOST = Emulator(check=True, unwritten="nan", order="forward", seed=0)


def machine_of(array: Any) -> Machine:
    """The machine whose memory an array lies in."""
    if isinstance(array, np.ndarray):
        return HOST
    raise TypeError(f"a {type(array).__name__} is not an array that kernels run on here")
