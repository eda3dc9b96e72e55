"""A GPU that is not there: arrays that say where they are, and written kernels that are emulated.

What is not emulated is all that this package does: the programs that are written for a GPU, their
tapes on the device, the kernels that count for them, the order of what is launched.
"""

from collections import Counter

import numpy as np

from numbaflux.cuda import device
from numbaflux.cuda.emulator import Emulator
from numbaflux.cuda.launch import Launch

MACHINE = Emulator(check=True, unwritten="nan", order="reverse", seed=0)


class Foreign:
    """An array of another library on a device: the interface is all there is of it."""

    def __init__(self, array, writable=True):
        self.hidden, self.ndim, self.shape = array, array.ndim, array.shape
        self.__cuda_array_interface__ = {
            "data": (array.ctypes.data, not writable), "shape": array.shape, "version": 3,
            "typestr": array.dtype.str,
            "strides": None if array.flags.c_contiguous else array.strides,
        }  # fmt: skip


class Array(Foreign):
    """An array of the compiler's on the device; the host sees a copy of it."""

    def __init__(self, array):
        super().__init__(array)
        self.dtype, self.size = array.dtype, array.size

    def copy_to_host(self):
        return self.hidden.copy()

    def reshape(self, *shape):
        return Array(self.hidden.reshape(*shape))

    def __setitem__(self, key, value):
        self.hidden[key] = getattr(value, "hidden", value)


class Cuda:
    """As much of numba.cuda as launches need; `counts` what was asked of it."""

    def __init__(self):
        self.counts = Counter()

    def is_available(self):
        return True

    def synchronize(self):
        self.counts["synchronize"] += 1

    def as_cuda_array(self, array):
        self.counts["adopted"] += 1
        return Array(array.hidden)

    def device_array(self, shape, dtype):
        self.counts["device_array"] += 1
        return Array(np.full(shape, -7).astype(dtype))

    def device_array_like(self, array):
        return Array(np.empty_like(array.hidden))

    def to_device(self, array):
        return Array(array.copy())


class Dispatcher:
    """A written kernel, as `cuda.jit` would make of it."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, config):
        return lambda *args: self.run(Launch.of(config), args)

    def run(self, launch, args):
        args = [getattr(a, "hidden", a) for a in args]
        emulated = MACHINE.compile(self.kernel.program, launch.known())
        MACHINE.bind(emulated, launch, args)()


def install(monkeypatch):
    """Let there be a GPU; its `cuda`."""
    cuda = Cuda()
    monkeypatch.setattr(device, "cuda_of", lambda compiler: cuda)
    monkeypatch.setattr(device.DeviceKernel, "dispatcher", property(Dispatcher))
    return cuda
