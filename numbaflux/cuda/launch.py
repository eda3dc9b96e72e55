"""What a launch is: how many threads, and what a kernel's program may know of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from numbaflux.passes.kernels.owner import PARTS, Known


@dataclass(frozen=True, slots=True)
class Launch:
    """[grid, block, stream, shared]: how many blocks of how many threads, and dynamic memory."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    stream: Any = 0
    shared: int = 0  # bytes

    @classmethod
    def of(cls, config: Any) -> Launch:
        """From what stands in the brackets: integers or tuples of up to three."""
        if not isinstance(config, tuple) or not 2 <= len(config) <= 4:
            raise TypeError("a kernel is launched as kernel[grid, block, stream, shared](...)")
        grid, block, *rest = config
        return cls(_three(grid, "grid"), _three(block, "block"), *rest)

    def longer(self, more: Sequence[int]) -> Launch:
        """The launch with so many more blocks along each axis."""
        x, y, z = (n + m for n, m in zip(self.grid, more, strict=True))
        return replace(self, grid=(x, y, z))

    @property
    def threads(self) -> int:
        return prod(self.grid) * prod(self.block)

    def numbers(self) -> dict[str, int]:
        """How many values each number of a thread has; of the launch's own numbers, which."""
        found = {"warp_lane": 32, "dynamic_bytes": self.shared}
        for at, axis in enumerate("xyz"):
            grid, block = self.grid[at], self.block[at]
            found |= {f"thread_{axis}": block, f"block_dim_{axis}": block}
            found |= {f"block_{axis}": grid, f"grid_dim_{axis}": grid}
            found |= {f"grid_{axis}": grid * block, f"grid_size_{axis}": grid * block}
        return found

    def known(self) -> Known:
        """What a kernel's program may depend on."""
        numbers = self.numbers()
        return Known(self.block, frozenset(p for p in PARTS if numbers[p] > 1))


def _three(sizes: Any, what: str) -> tuple[int, int, int]:
    found = tuple(sizes) if isinstance(sizes, Sequence | np.ndarray) else (sizes,)
    whole = all(isinstance(n, int | np.integer) and n > 0 for n in found)
    if not 1 <= len(found) <= 3 or not whole:
        raise ValueError(f"the {what} is one to three positive integers, not {sizes!r}")
    x, y, z = (int(n) for n in (*found, 1, 1)[:3])
    return x, y, z
