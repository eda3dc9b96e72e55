"""What the system's allocator does with memory that is given back."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)


def keep_memory() -> bool:
    """Keep freed memory in the process, for the whole process and for good; whether that worked.

    A gradient allocates its tape anew at each call. Above 32 MB glibc gives such memory back to the
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
