"""`python -m benchmarks.emulator`: how many threads a second kernels run on the emulator."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import numbaflux as nf
from tests.cuda.kernels import BLOCK, block_sum, saxpy

THREADS = {"saxpy": 1 << 22, "block_sum": 1 << 17}  # the second waits at 8 barriers
RUNS = 5


def rate(run: Callable[[], None], threads: int) -> float:
    """Threads a second, the best of several runs, by the time of this process."""
    run()
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return threads / min(times)


def main() -> None:
    for name, kernel in (("saxpy", saxpy), ("block_sum", block_sum)):
        n = THREADS[name]
        x, y = np.ones(n, np.float32), np.zeros(n, np.float32)
        args = (np.float32(2), x, y) if kernel is saxpy else (x, y)
        for check in (False, True):
            emulated = nf.cuda.emulate(kernel, check)[n // BLOCK, BLOCK]
            found = rate(lambda run=emulated, args=args: run(*args), n)
            print(f"{name:10} {'watched' if check else 'plain':8} {found / 1e6:7.2f} M threads/s")


if __name__ == "__main__":
    main()
