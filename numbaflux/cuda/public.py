"""The public transforms of kernels, and kernels of which launches are seen."""

from __future__ import annotations

from typing import Any

from numbaflux.api.transforms import InPlace
from numbaflux.cuda.device import gpu
from numbaflux.cuda.execution import Launchable
from numbaflux.cuda.kernel import KernelDerivative, KernelVjp


def adjoint(kernel: Any, deterministic: bool = False) -> KernelDerivative:
    """The reverse of a kernel: `adjoint(kernel)[grid, block](Dup(x, dx), ...)`.

    Launched after the kernel and like it, it adds to each shadow dx the product of the transposed
    Jacobian with the cotangents in the shadows of what the kernel has written; those are zeroed
    where they are consumed.  A scalar has a shadow of one element.  What is not given as
    `Dup(x, dx)` is constant.  With `deterministic` the result is the same to the last bit in every
    launch: where that would need atomic additions, it is refused.

    Raises UnsupportedError for a construct that has no derivative, NotDifferentiableError if the
    reverse needs what the kernel has overwritten, ValueError for a shadow of another shape.

    >>> import numpy as np
    >>> import numbaflux as nf
    >>> from numba import cuda
    >>> @cuda.jit
    ... def square(x, y):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         y[i] = x[i] * x[i]
    >>> x, dx, dy = np.arange(3.0), np.zeros(3), np.ones(3)
    >>> y = np.zeros(3)
    >>> nf.cuda.emulate(nf.cuda.adjoint(square))[1, 32](nf.Dup(x, dx), nf.Dup(y, dy))
    >>> dx
    array([0., 2., 4.])
    """
    return KernelDerivative(InPlace("adjoint"), kernel, gpu(kernel), deterministic)


def vjp(kernel: Any) -> KernelVjp:
    """The kernel with its pullback: `_, pullback = vjp(kernel)[grid, block](x, y, ...)`.

    It does what the kernel does and keeps what the reverse needs and the kernel overwrites;
    `pullback(dx, dy, ...)` then adds to the shadows as `adjoint` does. For an argument without a
    shadow it gets None.

    >>> import numpy as np
    >>> import numbaflux as nf
    >>> from numba import cuda
    >>> @cuda.jit
    ... def square(x):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         x[i] = x[i] * x[i]
    >>> x, dx = np.arange(3.0), np.ones(3)
    >>> _, pullback = nf.cuda.emulate(nf.cuda.vjp(square))[1, 32](x)
    >>> pullback(dx)
    >>> x, dx
    (array([0., 1., 4.]), array([0., 2., 4.]))
    """
    return KernelVjp(kernel, gpu(kernel))


def tangent(kernel: Any) -> KernelDerivative:
    """The kernel with tangents: `tangent(kernel)[grid, block](Dup(x, dx), ...)`.

    It does what the kernel does, and to each shadow what the derivative of that does: with x' in
    the shadow of x it leaves J x' in that of what is written.  The shadow of a scalar is a scalar.

    >>> import numpy as np
    >>> import numbaflux as nf
    >>> from numba import cuda
    >>> @cuda.jit
    ... def square(x, y):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         y[i] = x[i] * x[i]
    >>> x, dx, y, dy = np.arange(3.0), np.ones(3), np.zeros(3), np.zeros(3)
    >>> nf.cuda.emulate(nf.cuda.tangent(square))[1, 32](nf.Dup(x, dx), nf.Dup(y, dy))
    >>> dy
    array([0., 2., 4.])
    """
    return KernelDerivative(InPlace("tangent"), kernel, gpu(kernel))


def launch(kernel: Any) -> Launchable:
    """The kernel on a GPU, where an active `Tape` sees it: `launch(kernel)[grid, block](...)`.

    A derivative is launched on a GPU, and seen, as it is.  Arrays are Numba's or have a
    `__cuda_array_interface__`; what is on the host is copied there and back.
    Raises NoCudaError without a GPU; `emulate(kernel)` then does the same on the CPU.

    >>> import numpy as np
    >>> import numbaflux as nf
    >>> from numba import cuda
    >>> @cuda.jit
    ... def square(x):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         x[i] = x[i] * x[i]
    >>> run = nf.cuda.launch if cuda.is_available() else nf.cuda.emulate
    >>> x = np.arange(3.0)
    >>> run(square)[1, 32](x)
    >>> x
    array([0., 1., 4.])
    """
    return Launchable(kernel, gpu(kernel))
