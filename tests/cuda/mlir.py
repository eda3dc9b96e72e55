"""Kernels of numba-cuda-mlir: a module of kernels once more, with that compiler's `cuda`."""

import importlib
import importlib.util
import sys
from functools import cache
from types import ModuleType
from unittest import mock

import numba


@cache
def of_mlir(name: str) -> ModuleType:
    """The module of that name, its `from numba import cuda` being numba-cuda-mlir's."""
    cuda = importlib.import_module("numba_cuda_mlir.cuda")
    found = importlib.util.find_spec(name)
    assert found is not None and found.origin is not None
    spec = importlib.util.spec_from_file_location(f"{name}_of_mlir", found.origin)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    with mock.patch.object(numba, "cuda", cuda):
        spec.loader.exec_module(module)
    return module
