"""CUDA kernels in PyTorch: `numbaflux.torch`.  Needs PyTorch: `pip install 'numbaflux[torch]'`.

note [Dirty]  A kernel changes tensors in place.  For PyTorch each launch is one in-place operation
on all of them, as `y.add_(x)` is on y: it counts their versions, refuses a leaf that requires a
gradient, and notices when what the reverse needs has been changed since.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from numbaflux.cuda import adjoint, emulate
from numbaflux.cuda.arguments import leaves_of, with_dups, with_leaves
from numbaflux.cuda.device import Gpu, gpu
from numbaflux.cuda.execution import Executor
from numbaflux.cuda.launch import Launch
from numbaflux.cuda.plans import Plan, plan, shadows_of
from numbaflux.errors import NotDifferentiableError

try:
    torch: Any = importlib.import_module("torch")  # a checker would look for it here
except ImportError as error:
    raise ImportError("numbaflux.torch needs PyTorch: pip install 'numbaflux[torch]'") from error


def kernel(kernel: Any, check: bool = True) -> Kernel:
    """The kernel as an operation of PyTorch's: `kernel(k)[grid, block](x, y, ...)`.

    A launch changes its tensors in place, and PyTorch's `backward` goes through it: from the
    cotangents of the tensors that it has written to those of the tensors that it has read, and of
    what was in the written ones before.  Tensors of a GPU are used where they are, on the stream
    that is PyTorch's current one; those of the CPU by `nf.cuda.emulate(k, check)`, on the same
    memory.  Arguments are tensors, tuples of tensors, and numbers, which are constants.

    With `create_graph=True` the gradient can be differentiated again, unless the kernel overwrites
    what its reverse needs: NotDifferentiableError.

    >>> import torch
    >>> import numbaflux as nf
    >>> from numba import cuda
    >>> @cuda.jit
    ... def square(x, y):
    ...     i = cuda.grid(1)
    ...     if i < x.size:
    ...         y[i] = x[i] * x[i]
    >>> x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = torch.empty(3)
    >>> nf.torch.kernel(square)[1, 32](x, y)
    >>> y.sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """
    return Kernel(kernel, check)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel that is launched on tensors, `kernel[grid, block, stream, shared](...)`."""

    of: Any
    check: bool

    def __getitem__(self, config: Any) -> Configured:
        return Configured(self, Launch.of(config))

    @cached_property
    def adjoint(self) -> Kernel:
        return Kernel(adjoint(self.of), self.check)

    @cached_property
    def emulated(self) -> Executor:
        return emulate(self.of, self.check).executor

    @cached_property
    def launched(self) -> Executor:
        return gpu(self.of)


@dataclass(frozen=True, slots=True)
class Configured:
    """A kernel and how it is launched."""

    kernel: Kernel
    launch: Launch

    def __call__(self, *args: Any) -> None:
        """Launch it where the tensors are."""
        leaves = leaves_of(args)
        devices = {leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor)}
        if not devices <= {"cpu"} and not devices <= {"cuda"}:
            raise TypeError(f"the tensors of a launch are on a GPU or on the CPU, not {devices}")
        if any(isinstance(leaf, torch.Tensor) and leaf.ndim == 0 for leaf in leaves):
            raise TypeError("a tensor without axes: pass float(t), or t.reshape(1)")
        executor, launch = self.kernel.emulated, self.launch
        if "cuda" in devices:
            executor, launch = self.kernel.launched, _on_stream(self.kernel.launched, launch)
        _Launch.apply(_Call(self.kernel, executor, launch, args), *leaves)


def _on_stream(executor: Executor, launch: Launch) -> Launch:
    """On PyTorch's stream where none was asked for."""
    stream = torch.cuda.current_stream().cuda_stream
    if launch.stream or not stream:
        return launch
    assert isinstance(executor.machine, Gpu)
    return replace(launch, stream=executor.machine.cuda.external_stream(stream))


@dataclass(frozen=True, slots=True)
class _Call:
    """A launch; `args` say which leaf belongs to which argument."""

    kernel: Kernel
    executor: Executor
    launch: Launch
    args: tuple[Any, ...]

    def arrays(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments as the machine takes them, none copied."""
        found = with_leaves(args, iter([_array(leaf) for leaf in leaves_of(args)]))
        return self.executor.arguments(found)

    def plan(self, args: Sequence[Any], needs: Sequence[bool]) -> tuple[Plan, list[bool]]:
        """How it is reversed, and which leaves have a shadow; `needs`: which want a gradient."""
        made = plan(self.executor, self.kernel.of, self.launch, args, [False] * len(needs))
        if not any(needs):
            return made, [False] * len(needs)
        active = self._active([n or i in made.written for i, n in enumerate(needs)])
        return plan(self.executor, self.kernel.of, self.launch, args, active), active

    def _active(self, wanted: Sequence[bool]) -> list[bool]:
        """Of an argument all arrays of floating point numbers, or none, have a shadow."""
        active: list[bool] = []
        for arg in self.args:
            leaves = leaves_of((arg,))
            some = any(wanted[len(active) :][: len(leaves)])
            active += [some and _is_float(leaf) for leaf in leaves]
        return active

    def dups(self, leaves: Sequence[Any], active: Sequence[bool], ds: Sequence[Any]) -> Any:
        """The arguments of the adjoint."""
        args = with_leaves(self.args, iter(leaves))
        return with_dups(args, shadows_of(args, active, ds))


class _Launch(torch.autograd.Function):
    """note [Dirty]"""

    @staticmethod
    def forward(ctx: Any, call: _Call, *leaves: Any) -> tuple[Any, ...]:
        args = call.arrays(with_leaves(call.args, iter(leaves)))
        made, active = call.plan(args, ctx.needs_input_grad[1:])
        tapes = made.run(call.executor, call.launch, args)
        written = tuple(leaves[i] for i in made.written)
        ctx.mark_dirty(*written)
        ctx.save_for_backward(*(leaves[i] for i in made.needed))
        ctx.leaves = [leaf.detach() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        ctx.call, ctx.made, ctx.active, ctx.tapes = call, made, active, tapes
        return written

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        call, made, leaves = ctx.call, ctx.made, list(ctx.leaves)
        if made.backward is None:
            return (None,) * (1 + len(leaves))
        for place, tensor in zip(made.needed, ctx.saved_tensors, strict=True):
            leaves[place] = tensor
        given = dict(zip(made.written, cotangents, strict=True))
        ds = [
            _shadow(leaf, given.get(i)) if on else None
            for i, (leaf, on) in enumerate(zip(leaves, ctx.active, strict=True))
        ]
        dups = call.dups(leaves, ctx.active, ds)
        if not torch.is_grad_enabled():
            backward = made.backward.backward
            call.executor.launch(backward, call.launch, call.arrays(dups), ctx.tapes)
        elif made.backward.written:
            raise NotDifferentiableError(
                "the gradient of a kernel that overwrites what its reverse needs", None,
                "it is made from a record, through which there is no second derivative",
                "let the kernel write its results into other tensors, or leave out create_graph",
            )  # fmt: skip
        else:
            call.kernel.adjoint[_config(call.launch)](*dups)
        needs = ctx.needs_input_grad[1:]
        return (None, *(d if need else None for d, need in zip(ds, needs, strict=True)))


def _config(launch: Launch) -> tuple[Any, ...]:
    return launch.grid, launch.block, launch.stream, launch.shared


def _array(leaf: Any) -> Any:
    """A tensor as an array of the same memory."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return leaf.detach().numpy() if leaf.device.type == "cpu" else leaf.detach()


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_floating_point()


def _shadow(leaf: Any, cotangent: Any) -> Any:
    """A new tensor with the cotangent of one, zero if nothing was written to it."""
    if cotangent is None:
        return torch.zeros(leaf.shape, dtype=leaf.dtype, device=leaf.device)
    return cotangent.clone(memory_format=torch.contiguous_format)
