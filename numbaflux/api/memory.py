"""What the system's allocator does with memory that is given back."""

from __future__ import annotations

import ctypes
import sys

import numpy as np

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_LARGEST = 31 << 20  # bytes; freeing more than 32 MB teaches glibc nothing


def begin_warm() -> None:
    """Let the process keep 62 MB that it freed, as any does that once freed a block of 31.

    glibc keeps free memory, once it has seen the program free a block of that size, up to 32 MB;
    before that it gives back what is more than twice the largest one, and a gradient with many
    arrays of a megabyte asks at each call for pages that it had a moment before.

    Source: mallopt(3), "dynamic mmap threshold".
    """
    np.empty(_LARGEST, np.uint8)  # freed at once; its pages are never touched


def keep_memory() -> bool:
    """Keep freed memory in the process, for the whole process and for good; whether that worked.

    A gradient allocates its tape anew at each call. Above 31 MB glibc gives such memory back to the
    system and asks for it again the next time, page by page, which can double the time of a
    gradient whose tape is that large; after this call it does not. The process then keeps the most
    it ever needed. Only glibc has the switch: elsewhere nothing happens, and the result is False.
    A `Workspace` saves the gradients that are given it as much, on any system, and can be cleared.

    >>> import numbaflux as nf
    >>> kept = nf.keep_memory()

    Source: mallopt(3), M_MMAP_MAX and M_TRIM_THRESHOLD.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1))
