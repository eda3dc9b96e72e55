"""Elementary functions for loops: written so that LLVM vectorises them, 3 to 15 times libm's speed.

They are ordinary functions in `@njit` code, and ufuncs from Python.  In a loop whose iterations do
not wait for each other several elements are computed at once; in a chain of dependent calls, and
for single numbers, `math` is faster.

>>> import numba, numpy as np
>>> from numbaflux import vecmath
>>> @numba.njit
... def softmax(x, out):
...     for i in range(len(x)):
...         out[i] = vecmath.exp(x[i])
...     out /= out.sum()
>>> out = np.empty(2)
>>> softmax(np.array([0.0, 0.0]), out)
>>> out
array([0.5, 0.5])
>>> vecmath.tanh([0.0, 1.0])
array([0.        , 0.76159416])
"""

from numbaflux.vecmath.functions import (
    atan,
    cos,
    cosh,
    erf,
    exp,
    expm1,
    log,
    log1p,
    pow,
    sigmoid,
    sin,
    sinh,
    softplus,
    tan,
    tanh,
)

__all__ = [
    "atan",
    "cos",
    "cosh",
    "erf",
    "exp",
    "expm1",
    "log",
    "log1p",
    "pow",
    "sigmoid",
    "sin",
    "sinh",
    "softplus",
    "tan",
    "tanh",
]
