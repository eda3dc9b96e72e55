"""The Jacobian by forward mode with lanes: so many columns a run of the function.

The columns are the elements of the differentiated arguments, one after the other.  Scalars only:
which lane is which column is known here.  With arrays among them the number of columns is known
when the code runs, and a loop takes a chunk of columns a trip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from numbaflux.errors import UnsupportedError
from numbaflux.ir.build import Builder, array_of, full_slice, index, zero_of
from numbaflux.ir.nodes import (
    Array,
    Atom,
    Block,
    Extern,
    Function,
    Index,
    Print,
    Reshape,
    Scalar,
    Var,
)
from numbaflux.ir.ops import ROUTINES
from numbaflux.ir.walk import everywhere, map_regions, walk
from numbaflux.passes import optimise_to_transform
from numbaflux.passes.alias import written_params
from numbaflux.transforms.lanes import jvp_lanes, only_read, seed, widened
from numbaflux.transforms.memory import copy_array, elements

Blocks = dict[tuple[int, Var], Atom]  # ∂ result i / ∂ leaf

CHUNK = 16  # lanes where the number of columns is not known: two vectors of AVX-512, four of AVX
MOST = 32  # lanes of one run where it is known


def column_blocks(b: Builder, fn: Function, wrt: tuple[Var, ...], chunk: int | None) -> Blocks:
    """The blocks of the Jacobian; `chunk`: how many lanes, None to choose."""
    fn = optimise_to_transform(fn)  # what is computed twice would have two tangents
    if all(isinstance(p.type, Scalar) for p in wrt):
        return _known(b, fn, wrt, chunk)
    return _Loop(b, fn, wrt, chunk or CHUNK).run()


def silent(fn: Function) -> Function:
    """`fn` without what it prints, to be run again; raises if it draws random numbers."""
    for stmt in walk(fn.block):
        if isinstance(stmt, Extern) and not ROUTINES[stmt.routine].pure:
            raise UnsupportedError(
                f"jacfwd of a function with an effect (`{stmt.routine}`)",
                stmt.loc,
                "forward mode runs the function once for every input, each time with other draws",
                "use numbaflux.jacrev, which runs it once",
            )

    def visit(block: Block) -> Block:
        stmts = (map_regions(s, visit) for s in block.stmts if not isinstance(s, Print))
        return replace(block, stmts=tuple(stmts))

    return replace(fn, block=visit(fn.block))


def new_block(b: Builder, r: Atom, p: Atom, zero: bool = False) -> Var:
    """An array for ∂ r / ∂ p."""
    shape: list[Atom] = [
        b.dim(a, axis) for a in (r, p) if isinstance(a.type, Array) for axis in range(a.type.ndim)
    ]
    shape = shape or [index(1)]
    element = r.type.element if isinstance(r.type, Array) else r.type
    assert isinstance(element, Scalar | Array)
    name = f"d_{getattr(p, 'name', 'x')}"
    return b.alloc(shape, Array(element, len(shape)), zero=zero, name=name)


# ---- columns that are known --------------------------------------------------------------------


def _known(b: Builder, fn: Function, wrt: tuple[Var, ...], chunk: int | None) -> Blocks:
    """Scalars only: a run for every `chunk` of them, the first one with the function's effects."""
    size = chunk or min(MOST, len(wrt))
    groups = [wrt[i : i + size] for i in range(0, len(wrt), size)]
    written = written_params(fn) if len(groups) > 1 else ()
    saved = {p: copy_array(b, p, p.name) for p in written}
    blocks: Blocks = {}
    for group in groups:
        lanes = max(2, power(len(group)))
        wide, params = jvp_lanes(fn, group, lanes), list[Atom](fn.params)
        if group is not groups[0]:
            wide = everywhere(wide, silent)
            params = [copy_array(b, saved[p], p.name) if p in saved else p for p in fn.params]
        seeds = [seed(b, index(at), p, lanes) for at, p in enumerate(group)]
        out = b.inline(wide, [*params, *seeds])
        n = len(fn.results)
        for k, (r, d) in enumerate(zip(out[:n], out[n:], strict=True)):
            _pick(b, blocks, k, r, d, group)
    return blocks


def _pick(b: Builder, blocks: Blocks, i: int, r: Atom, d: Atom, group: tuple[Var, ...]) -> None:
    """∂ r / ∂ every scalar of the group, each a lane of `d`."""
    if not isinstance(r.type, Array):
        for lane, p in enumerate(group):
            blocks[i, p] = b.prim("lane", d, index(lane), type=r.type, name=f"d_{p.name}")
        return
    blocks.update(((i, p), new_block(b, r, p)) for p in group)
    with elements(b, r) as row:
        value = b.load(d, row)
        for lane, p in enumerate(group):
            element = b.prim("lane", value, index(lane), type=r.type.element)
            b.store(blocks[i, p], row, element)


def power(n: int) -> int:
    """The lanes for n columns: a power of two, which fills registers."""
    return 1 << (n - 1).bit_length()


# ---- columns that are counted ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """The columns of a chunk that belong to one argument.

    Its first element would be in lane `start`, which may be outside of the chunk.  So `count` lanes
    from `first` on are its elements from `element` on.
    """

    start: Atom
    first: Atom
    element: Atom
    count: Atom


class _Loop:
    """A trip for every chunk of columns, on copies of what the function overwrites.

    Seeds that are kept in memory are put in before the run and taken out after it.
    """

    def __init__(self, b: Builder, fn: Function, wrt: tuple[Var, ...], lanes: int) -> None:
        self.b, self.fn, self.wrt, self.lanes = b, fn, wrt, lanes
        self.written, self.read = set(written_params(fn)), only_read(fn)
        self.sizes = {p: self.size(p) for p in wrt}

    def size(self, a: Atom) -> Atom:
        """How many elements."""
        n: Atom = index(1)
        for axis in range(a.type.ndim if isinstance(a.type, Array) else 0):
            n = self.b.prim("mul", n, self.b.dim(a, axis), name="size")
        return n

    def run(self) -> Blocks:
        b, fn, lanes = self.b, self.fn, index(self.lanes)
        wide = everywhere(jvp_lanes(fn, self.wrt, self.lanes), silent)
        saved = {p: copy_array(b, p, p.name) for p in fn.params if p in self.written}
        results = b.inline(fn, fn.params)
        pairs = [(i, p) for i in range(len(results)) for p in self.wrt]
        blocks = {(i, p): new_block(b, results[i], p) for i, p in pairs}
        flat = {key: self.flat(block) for key, block in blocks.items()}
        kept = {p: self.tangent(p) for p in self.wrt if self.keeps(p)}
        total: Atom = index(0)
        for n in self.sizes.values():
            total = b.add(total, n, name="columns")
        chunks = b.prim("floordiv", b.add(total, index(self.lanes - 1)), lanes)
        with b.for_(chunks, index="chunk") as loop:
            parts = self.parts(b.mul(loop.k, lanes, name="column"))
            tangents = [self.seeded(p, parts[p], kept) for p in self.wrt]
            params = [copy_array(b, saved[p], p.name) if p in saved else p for p in fn.params]
            out = b.inline(wide, [*params, *tangents])
            for p in kept:
                self.fill(kept[p], parts[p], ones=False)
            for i, d in enumerate(out[len(results) :]):
                self.copy(d, {p: (flat[i, p], parts[p]) for p in self.wrt})
        return {(i, p): self.plain(blocks[i, p], results[i], p) for i, p in pairs}

    def plain(self, block: Atom, r: Atom, p: Var) -> Atom:
        """A block of no dimension is a number."""
        if isinstance(r.type, Array) or isinstance(p.type, Array):
            return block
        return self.b.load(block, [index(0)], name=f"d_{p.name}")

    def parts(self, column: Atom) -> dict[Var, _Part]:
        """Which lanes of the chunk that begins at a column belong to which argument."""
        b, found = self.b, {}
        before: Atom = index(0)
        for p, size in self.sizes.items():
            leading = before == index(0)
            start = b.neg(column, "start") if leading else b.sub(before, column, "start")
            end = b.prim("min", b.add(start, size), index(self.lanes))
            if leading:
                found[p] = _Part(start, before, column, end)
            else:
                first = b.prim("max", start, index(0), name="first")
                found[p] = _Part(start, first, b.sub(first, start), b.sub(end, first))
            before = b.add(before, size)
        return found

    # ---- seeds ---------------------------------------------------------------------------------

    def keeps(self, p: Var) -> bool:
        return isinstance(p.type, Array) and p not in self.written and p not in self.read

    def tangent(self, p: Var) -> Var:
        """A zeroed array of tangents beside `p`."""
        type = replace(array_of(p), layout="C", readonly=False)
        shape = [self.b.dim(p, axis) for axis in range(type.ndim)]
        return self.b.alloc(shape, widened(type, self.lanes), name=f"d_{p.name}")

    def seeded(self, p: Var, part: _Part, kept: dict[Var, Var]) -> Atom:
        """What jvp_lanes is given for `p`."""
        if p in self.read:
            return part.start
        if not isinstance(p.type, Array):
            return seed(self.b, part.start, p, self.lanes)
        d = kept.get(p) or self.tangent(p)
        self.fill(d, part, ones=True)
        type = widened(p.type, self.lanes)
        whole = Index((full_slice(),) * p.type.ndim)
        return d if d.type == type else self.b.view(d, whole, type, d.name)

    def fill(self, d: Var, part: _Part, ones: bool) -> None:
        """A one, or again zeros, for each of the part's elements."""
        b, flat = self.b, self.flat(d)
        element = array_of(d).element
        with b.for_(part.count, index="l") as loop:
            one = b.prim("unit", b.add(part.first, loop.k), type=Scalar("float64", self.lanes))
            value = b.cast(one, element) if ones else zero_of(element)
            b.store(flat, [b.add(part.element, loop.k)], value)

    def flat(self, array: Var) -> Var:
        """A new array with all its elements along one axis."""
        if array_of(array).ndim == 1:
            return array
        type = replace(array_of(array), ndim=1)
        return self.b.view(array, Reshape((self.size(array),)), type, array.name)

    # ---- results -------------------------------------------------------------------------------

    def copy(self, d: Atom, targets: dict[Var, tuple[Var, _Part]]) -> None:
        """The columns of the chunk, of all elements of a result, into its blocks."""
        b = self.b
        with elements(b, d) as at:
            value = b.load(d, at) if isinstance(d.type, Array) else d
            row: Atom = index(0)
            for axis, i in enumerate(at):
                row = b.add(b.mul(row, b.dim(d, axis)), i) if axis else i
            for p, (block, part) in targets.items():
                place = b.add(b.mul(row, self.sizes[p]), part.element) if at else part.element
                b.extern("put", value, block, place, part.first, part.count, types=[])
