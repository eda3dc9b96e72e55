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

note [Compiled once]  A jitted function is compiled for every literal that it is called with: for
each access of each kernel, that is.  What the kernel calls is therefore jitable only, which takes a
literal for an int64; the checks behind it see an address in place of an array, and are not inlined.
All that is known lies in one array, whose first row says where the rest begins: calls pass little.

What is found goes to rows of that table; the exception only stops the kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, register_jitable

WARP = 32
WRITER, READER, ATOMIC = 0, 1, 3  # columns of accesses; behind the last two, the other one
COLUMNS = 5
SITE = 16  # bits for the number of an access
INTERVAL = 32  # bits for how often the warp has waited, below how often the block has

OUTSIDE, RACE, UNWRITTEN = 1, 2, 3  # the kind of what is found
FOUND, INDEX, REGIONS = 1, 3, 5  # rows
COUNT, WHO, WHEN, NOW, THREADS = range(5)  # columns of the first row: how many regions, then rows


class Watch(NamedTuple):
    """What is known of the memory that a kernel writes, while it runs: parts of one table."""

    table: np.ndarray
    who: np.ndarray  # (thread + 1) << SITE | access, for each element; behind all of these, if
    # the kernel has barriers, the intervals of those accesses
    now: np.ndarray  # the interval of each thread of the block
    found: np.ndarray  # kind, access, access before, thread, thread before, row, axis, length,
    # two that are unused, then the index


def watch_of(regions: Any, rows: int, barriers: bool, threads: int) -> Watch:
    """A watch that has seen nothing.

    `regions`: (start, end, bytes of an element, first row of `who`, whether to miss writes) of
    arrays; `rows`: how many elements they have; `threads`: those of a block.
    """
    known = np.array(regions, np.int64).reshape(-1, COLUMNS)
    who = REGIONS + len(known)
    when = who + rows
    now = when + rows * barriers
    table = np.zeros((now + threads, COLUMNS), np.int64)
    table[0] = len(known), who, when * barriers, now, threads
    table[REGIONS:who] = known
    found = table[FOUND:REGIONS].reshape(-1)
    return Watch(table, table[who:when], table[now:, 0], found)


def _noinline(context):
    """Keeps the function that calls it from being inlined.  note [Compiled once]"""

    def generate(context, builder, signature, args):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


_out_of_line: Any = intrinsic(_noinline)


# ---- what a kernel calls -------------------------------------------------------------------------


@register_jitable
def axis(table, array, place, access, thread, first):
    """Stop if place[1] is not inside axis place[0]."""
    _check_axis(table, array.shape, place, access, thread + first)


@register_jitable
def inside(table, array, place, access, thread, first):
    """Stop if the place is not one of the array's."""
    _check(table, array.shape, place, access, thread + first)


@register_jitable
def read(table, array, place, access, thread, first):
    """A plain read is coming."""
    _check(table, array.shape, place, access, thread + first)
    _check_read(table, _address(array, place), access, thread, first)


@register_jitable
def write(table, array, place, access, thread, first):
    """A plain write is coming, or a read and a write."""
    _check(table, array.shape, place, access, thread + first)
    _check_write(table, _address(array, place), access, thread, first)


@register_jitable
def atomic(table, array, place, access, thread, first):
    """An atomic operation is coming."""
    _check(table, array.shape, place, access, thread + first)
    _check_atomic(table, _address(array, place), access, thread, first)


@numba.njit(cache=True)
def _address(array, place):
    address = np.int64(array.ctypes.data)
    for along in range(array.ndim):
        k = place[along]
        address += (k + array.shape[along] * (k < 0)) * array.strides[along]
    return address


# ---- the checks ----------------------------------------------------------------------------------


@numba.njit(cache=True)
def _check_axis(table, shape, place, access, thread):
    _out_of_line()
    along, k = place
    if k >= shape[along] or k < -shape[along]:
        table[INDEX + along // COLUMNS, along % COLUMNS] = k
        _outside(table, along, shape[along], access, thread)


@numba.njit(cache=True)
def _check(table, shape, place, access, thread):
    _out_of_line()
    for along in range(len(shape)):
        if place[along] >= shape[along] or place[along] < -shape[along]:
            for k in range(len(shape)):
                table[INDEX + k // COLUMNS, k % COLUMNS] = place[k]
            _outside(table, along, shape[along], access, thread)


@numba.njit(cache=True)
def _outside(table, along, length, access, thread):
    _find(table, OUTSIDE, access, 0, thread, 0, -1)
    table[FOUND + 1, 1], table[FOUND + 1, 2] = along, length
    raise IndexError("an index is out of bounds")


@numba.njit(cache=True)
def _check_read(table, address, access, thread, first):
    _out_of_line()
    row = _row(table, address, access, thread + first, True)
    if row >= 0:
        _meet(table, row, WRITER, access, thread, first)
        _meet(table, row, ATOMIC, access, thread, first)
        _meet(table, row, ATOMIC + 1, access, thread, first)
        _remember(table, row, READER, access, thread, first)


@numba.njit(cache=True)
def _check_write(table, address, access, thread, first):
    _out_of_line()
    row = _row(table, address, access, thread + first, False)
    if row >= 0:
        for column in range(COLUMNS):
            _meet(table, row, column, access, thread, first)
        table[table[0, WHO] + row, WRITER] = (first + thread + 1) << SITE | access
        if table[0, WHEN]:
            table[table[0, WHEN] + row, WRITER] = table[table[0, NOW] + thread, 0]


@numba.njit(cache=True)
def _check_atomic(table, address, access, thread, first):
    _out_of_line()
    row = _row(table, address, access, thread + first, True)
    if row >= 0:
        _meet(table, row, WRITER, access, thread, first)
        _meet(table, row, READER, access, thread, first)
        _meet(table, row, READER + 1, access, thread, first)
        _remember(table, row, ATOMIC, access, thread, first)


@numba.njit(cache=True)
def _row(table, address, access, thread, reads):
    """Where the element is remembered; -1 if it is not."""
    for r in range(REGIONS, REGIONS + table[0, COUNT]):
        start, end = table[r, 0], table[r, 1]
        if start <= address and address < end:
            row = table[r, 3] + (address - start) // table[r, 2]
            who = table[0, WHO] + row
            missed = table[who, WRITER] == 0 and table[who, ATOMIC] == 0
            if reads and table[r, 4] and missed:
                _find(table, UNWRITTEN, access, 0, thread, 0, row)
                raise RuntimeError("an element is read that nobody has written")
            return row
    return -1


@numba.njit(cache=True)
def _meet(table, row, column, access, thread, first):
    """Stop if the access remembered in this column races with the one that is coming."""
    seen = table[table[0, WHO] + row, column]
    other = (seen >> SITE) - 1
    if seen == 0 or other == first + thread:
        return
    if table[0, WHEN] and first <= other and other < first + table[0, THREADS]:
        then, now = table[table[0, WHEN] + row, column], table[table[0, NOW] + thread, 0]
        if then >> INTERVAL != now >> INTERVAL:
            return
        if (other - first) // WARP == thread // WARP and then != now:
            return
    _find(table, RACE, access, seen & ((1 << SITE) - 1), thread + first, other, row)
    raise RuntimeError("two threads race")


@numba.njit(cache=True)
def _remember(table, row, column, access, thread, first):
    """The thread has used the element last; who else has.  note [Remembered]"""
    who, when, now = table[0, WHO] + row, table[0, WHEN] + row, table[0, NOW] + thread
    last, other = (table[who, column] >> SITE) - 1, (table[who, column + 1] >> SITE) - 1
    barriers = table[0, WHEN] > 0
    if last >= 0 and last != first + thread:
        keep = False
        if barriers and other >= 0:
            if other < first or other >= first + table[0, THREADS]:
                keep = True
            elif first <= last and last < first + table[0, THREADS]:
                apart = (other - first) // WARP != thread // WARP
                near = (last - first) // WARP == thread // WARP
                current = table[when, column + 1] >> INTERVAL == table[now, 0] >> INTERVAL
                keep = apart and near and current
        if not keep:
            table[who, column + 1] = table[who, column]
            if barriers:
                table[when, column + 1] = table[when, column]
    table[who, column] = (first + thread + 1) << SITE | access
    if barriers:
        table[when, column] = table[now, 0]


@numba.njit(cache=True)
def _find(table, kind, access, before, thread, thread_before, row):
    table[FOUND, 0], table[FOUND, 1], table[FOUND, 2] = kind, access, before
    table[FOUND, 3], table[FOUND, 4], table[FOUND + 1, 0] = thread, thread_before, row
