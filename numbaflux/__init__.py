"""numbaflux: derivatives of the loops you already wrote for Numba.

>>> import numbaflux as nf
>>> df = nf.grad(lambda x: 3 * x**2 + 2 * x + 1)
>>> df(2)
14.0
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from numbaflux.api.check import check_grads
from numbaflux.api.checkpoint import checkpoint
from numbaflux.api.custom import custom_jvp, custom_vjp, stop_gradient
from numbaflux.api.dispatcher import source
from numbaflux.api.memory import begin_warm, keep_memory
from numbaflux.api.options import FAST
from numbaflux.api.public import (
    adjoint,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    tangent,
    value_and_grad,
    vjp,
)
from numbaflux.api.transforms import Dup
from numbaflux.api.workspace import Workspace
from numbaflux.debug import debug
from numbaflux.errors import InternalError, NotDifferentiableError, NumbafluxError, UnsupportedError
from numbaflux.parts import Layout

if TYPE_CHECKING:
    from numbaflux import cuda
    from numbaflux import torch as torch  # not in __all__: PyTorch may be missing

__version__ = "0.1.0"

__all__ = [
    "FAST",
    "Dup",
    "InternalError",
    "Layout",
    "NotDifferentiableError",
    "NumbafluxError",
    "UnsupportedError",
    "Workspace",
    "adjoint",
    "check_grads",
    "checkpoint",
    "cuda",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "keep_memory",
    "source",
    "stop_gradient",
    "tangent",
    "value_and_grad",
    "vjp",
]

begin_warm()


def __getattr__(name: str) -> ModuleType:
    """`numbaflux.cuda` and `.torch`, which few programs need, are imported when asked for."""
    if name in ("cuda", "torch"):
        return importlib.import_module(f"numbaflux.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
