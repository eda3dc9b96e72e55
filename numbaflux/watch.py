"""What the code of a watched kernel calls before each access: is it inside, does it race?

note [Races]  Two accesses of one element race if they are made by two threads that did not wait
for each other in between, and one of them is a plain write, or one is atomic and the other a plain
one that writes or reads.  Threads of two blocks never wait for each other; those of a block do at
a barrier of the block, those of a warp at one of the warp too.

note [Remembered]  Of each element of an array that is written: who wrote last, and of the readers,
as of those that used an atomic operation, the last one and one other.  Blocks run one after the
other, so of two candidates for the other one that of an earlier block is kept; then one of another
warp in this interval; then the later one.  That loses no race: a write that races with a forgotten
reader races with one of these two as well.

Plain njit functions.  What they find goes to `Watch.found`; the exception only stops the kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

WARP = 32
WRITER, READER, ATOMIC = 0, 1, 3  # columns of `who` and `when`; behind the last two, the other one
COLUMNS = 5
SITE = 16  # bits for the number of an access
INTERVAL = 32  # bits for how often the warp has waited, below how often the block has

OUTSIDE, RACE, UNWRITTEN = 1, 2, 3  # found[0]
FOUND = 16


class Watch(NamedTuple):
    """What is known of the memory that a kernel writes, while it runs."""

    regions: Any  # (start, end, bytes of an element, first row, whether to miss writes) of arrays
    who: Any  # (thread + 1) << SITE | access, for each element
    when: Any  # the interval of that access; no rows if the kernel has no barriers
    now: Any  # the interval of each thread of the block
    found: Any  # kind, access, access before, thread, thread before, row, axis, then the index


@numba.njit(cache=True)
def axis(watch, array, place, access, thread, first):
    """Stop if place[1] is not inside axis place[0]."""
    along, k = place
    if k >= array.shape[along] or k < -array.shape[along]:
        _outside(watch, array, along, access, thread + first)
        watch.found[8 + along] = k
        raise IndexError("an index is out of bounds")


@numba.njit(cache=True)
def inside(watch, array, place, access, thread, first):
    """Stop if the place is not one of the array's."""
    for along in range(array.ndim):
        if place[along] >= array.shape[along] or place[along] < -array.shape[along]:
            _outside(watch, array, along, access, thread + first)
            for k in range(array.ndim):
                watch.found[8 + k] = place[k]
            raise IndexError("an index is out of bounds")


@numba.njit(cache=True)
def _outside(watch, array, along, access, thread):
    _find(watch, OUTSIDE, access, 0, thread, 0, -1)
    watch.found[6], watch.found[7] = along, array.shape[along]


@numba.njit(cache=True)
def read(watch, array, place, access, thread, first):
    """A plain read is coming."""
    inside(watch, array, place, access, thread, first)
    row = _row(watch, array, place, access, thread, first, True)
    if row >= 0:
        _meet(watch, row, WRITER, access, thread, first)
        _meet(watch, row, ATOMIC, access, thread, first)
        _meet(watch, row, ATOMIC + 1, access, thread, first)
        _remember(watch, row, READER, access, thread, first)


@numba.njit(cache=True)
def write(watch, array, place, access, thread, first):
    """A plain write is coming, or a read and a write."""
    inside(watch, array, place, access, thread, first)
    row = _row(watch, array, place, access, thread, first, False)
    if row >= 0:
        for column in range(COLUMNS):
            _meet(watch, row, column, access, thread, first)
        watch.who[row, WRITER] = (first + thread + 1) << SITE | access
        if watch.when.shape[0]:
            watch.when[row, WRITER] = watch.now[thread]


@numba.njit(cache=True)
def atomic(watch, array, place, access, thread, first):
    """An atomic operation is coming."""
    inside(watch, array, place, access, thread, first)
    row = _row(watch, array, place, access, thread, first, True)
    if row >= 0:
        _meet(watch, row, WRITER, access, thread, first)
        _meet(watch, row, READER, access, thread, first)
        _meet(watch, row, READER + 1, access, thread, first)
        _remember(watch, row, ATOMIC, access, thread, first)


@numba.njit(cache=True)
def _row(watch, array, place, access, thread, first, reads):
    """Where the element is remembered; -1 if it is not."""
    address = np.int64(array.ctypes.data)
    for along in range(array.ndim):
        k = place[along]
        address += (k + array.shape[along] * (k < 0)) * array.strides[along]
    for r in range(watch.regions.shape[0]):
        start, end = watch.regions[r, 0], watch.regions[r, 1]
        if start <= address and address < end:
            row = watch.regions[r, 3] + (address - start) // watch.regions[r, 2]
            missed = watch.who[row, WRITER] == 0 and watch.who[row, ATOMIC] == 0
            if reads and watch.regions[r, 4] and missed:
                _find(watch, UNWRITTEN, access, 0, thread + first, 0, row)
                raise RuntimeError("an element is read that nobody has written")
            return row
    return -1


@numba.njit(cache=True)
def _meet(watch, row, column, access, thread, first):
    """Stop if the access remembered in this column races with the one that is coming."""
    seen = watch.who[row, column]
    other = (seen >> SITE) - 1
    if seen == 0 or other == first + thread:
        return
    if watch.when.shape[0] and first <= other and other < first + watch.now.shape[0]:
        then, now = watch.when[row, column], watch.now[thread]
        if then >> INTERVAL != now >> INTERVAL:
            return
        if (other - first) // WARP == thread // WARP and then != now:
            return
    _find(watch, RACE, access, seen & ((1 << SITE) - 1), thread + first, other, row)
    raise RuntimeError("two threads race")


@numba.njit(cache=True)
def _remember(watch, row, column, access, thread, first):
    """The thread has used the element last; who else has.  note [Remembered]"""
    who, when = watch.who, watch.when
    last, other = (who[row, column] >> SITE) - 1, (who[row, column + 1] >> SITE) - 1
    barriers = when.shape[0] > 0
    if last >= 0 and last != first + thread:
        keep = False
        if barriers and other >= 0:
            if other < first or other >= first + watch.now.shape[0]:
                keep = True
            elif first <= last and last < first + watch.now.shape[0]:
                apart = (other - first) // WARP != thread // WARP
                near = (last - first) // WARP == thread // WARP
                current = when[row, column + 1] >> INTERVAL == watch.now[thread] >> INTERVAL
                keep = apart and near and current
        if not keep:
            who[row, column + 1] = who[row, column]
            if barriers:
                when[row, column + 1] = when[row, column]
    who[row, column] = (first + thread + 1) << SITE | access
    if barriers:
        when[row, column] = watch.now[thread]


@numba.njit(cache=True)
def _find(watch, kind, access, before, thread, thread_before, row):
    found = watch.found
    found[0], found[1], found[2] = kind, access, before
    found[3], found[4], found[5] = thread, thread_before, row
