"""How much memory the machine has, and what its allocator does with what is given back."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

LIMITS = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"
TENTH = 10**8  # of a GB

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)


def keep_memory() -> bool:
    """Keep freed memory in the process, for the whole process and for good; whether that worked.

    A gradient allocates its tape anew at each call. Above 32 MB glibc gives such memory back to the
    system and asks for it again the next time, page by page, which can double the time of a
    gradient whose tape is that large; after this call it does not. The process then keeps the most
    it ever needed. Only glibc has the switch: elsewhere nothing happens, and the result is False.

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


def quarter() -> int:
    """A quarter of the memory of this machine, or of its container, in whole tenths of a GB."""
    return max(MACHINE // 4 // TENTH, 1) * TENTH


def _machine() -> int:
    """Bytes of memory; a TB where the system does not say."""
    known = [10**12]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in LIMITS:
        with suppress(OSError, ValueError):  # none, or the word max
            known.append(int(Path(name).read_text()))
    return min(known)


MACHINE = _machine()
