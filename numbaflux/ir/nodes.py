"""The grammar of the IR: structured SSA with memory.

    function  ::=  name(params) block
    block     ::=  params  stmts  yields
    stmt      ::=  Prim | Extern | Custom | Call                   scalars and calls
                |  Alloc | Load | Store | Accumulate | View | Dim | Gemm   memory
                |  If | For | While                                regions
                |  Barrier | Atomic | Shuffle                      threads
                |  Raise | Print                                   effects

A `Var` is assigned once and compared by identity: its name is only a wish, the writer makes it
unique.  Scalars are values, arrays are references; a `View` aliases its base.  Tuples do not
exist here: the front end takes them apart (`trees.py`).

note [Regions]  Values enter a region freely (any variable of an enclosing block may be used) and
leave it only through its yields.  `For` runs its body for k = 0 .. count-1; start and step are
arithmetic in the body.  `While` is a do-while: its body always runs once and yields
(go, *carried); the loop ends when `go` is false, and its results are the values last yielded.

note [Lanes]  Several tangents may be one value: arithmetic is then lane by lane, a plain number
counts in every lane, and an array of such values has no axis for them.  This is for the last step
before code is written: what has lanes is not transformed again.

note [Threads]  A kernel is a program that many threads run at once, in blocks.  Which one runs is
told by primitives without arguments (`ops.THREADS`); every thread sees the arrays that are its
arguments, those of a block see its shared arrays (`Alloc.space`).  What one thread writes, another
one sees after a `Barrier` that both have passed; in between, only atomic additions may meet.

note [Indices]  An index means what it means in Python: negative counts from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# ---- types -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number; `dtype` is NumPy's name for it: float64, float32, int64, ..., bool.

    `lanes`: so many floating point numbers in one value, 0 for a plain number. note [Lanes]
    """

    dtype: str
    lanes: int = 0

    @property
    def is_float(self) -> bool:
        return self.dtype in ("float64", "float32")

    @property
    def is_int(self) -> bool:
        return not self.is_float and self.dtype != "bool"

    @property
    def numpy(self) -> np.dtype:
        return np.dtype(self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}x{self.lanes}" if self.lanes else self.dtype


@dataclass(frozen=True, slots=True)
class Array:
    """A reference to an array.  layout is C, F or A (any strides).

    `element` may itself be an Array: an array of references.  `grows`: one dimension, and a Store
    or Accumulate past the end extends it; such an array is never viewed, carried, or yielded.
    """

    element: Scalar | Array
    ndim: int
    layout: str = "C"
    grows: bool = False
    readonly: bool = False

    @property
    def is_float(self) -> bool:
        """Whether numbers that can carry a derivative are reached through this reference."""
        return self.element.is_float

    def __str__(self) -> str:
        dims = ", ".join(":" * self.ndim) if not self.grows else ":..."
        return f"{self.element}[{dims}]{'' if self.layout == 'C' else self.layout}"


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value without a derivative that is only handed on: a string, a generator.

    `numba` is the Numba type it came with.
    """

    numba: object

    @property
    def is_float(self) -> bool:
        return False

    def __str__(self) -> str:
        return str(self.numba)


Type = Scalar | Array | Opaque

F64, F32, I64, BOOL = Scalar("float64"), Scalar("float32"), Scalar("int64"), Scalar("bool")
TEXT = Opaque("text")  # of a constant string that the library itself writes

# ---- atoms -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Var:
    """A variable, assigned once. Two variables are the same only if they are the same object."""

    name: str
    type: Type

    def __repr__(self) -> str:
        return f"{self.name}:{self.type}"


@dataclass(frozen=True, slots=True)
class Const:
    """A constant of a scalar type, or an opaque one (a literal string)."""

    value: float | int | bool | str
    type: Type = F64

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Global:
    """An array that the user's function closes over: a constant reference, never differentiated."""

    name: str
    value: np.ndarray
    type: Type

    def __repr__(self) -> str:
        return self.name


Atom = Var | Const | Global


@dataclass(frozen=True, slots=True)
class Loc:
    """Where in the user's code a statement came from."""

    file: str
    line: int
    function: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


NOWHERE = Loc("<generated>", 0)

# ---- scalars -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Prim:
    """result = op(args): a scalar primitive, named in `ops.py`, without effects."""

    result: Var
    op: str
    args: tuple[Atom, ...]
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Extern:
    """results = routine(args): a routine of `ops.py` whose results have no derivative.

    `argsort`, a random draw, a comparison of strings.
    """

    results: tuple[Var, ...]
    routine: str
    args: tuple[Atom, ...]
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """A function whose derivative the user has written.

    `primal`: args -> results.  `jvp`: args, tangents of the float args -> results, tangents of the
    float results.  `forward`: args -> results, residuals; `backward`: residuals, cotangents of the
    float results -> cotangents of the float args.  Rules are read when they are first called for,
    since they may call the function itself; forward mode may be without one.
    """

    name: str
    primal: Function
    forward: Callable[[], Function]
    backward: Callable[[], Function]
    jvp: Callable[[], Function] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Custom:
    """results = rules.primal(args): a call without effects, kept until its rule has been used."""

    results: tuple[Var, ...]
    rules: Rules
    args: tuple[Atom, ...]
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Callee:
    """A function that is called, since it calls itself; two are the same only by identity.

    `make` gives the function when it is first asked for, since it may refer to this very object.
    `made`: what was once found out or derived, by name.
    """

    name: str
    make: Callable[[], Function]
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def function(self) -> Function:
        if "function" not in self.made:
            self.made["function"] = self.make()
        return self.made["function"]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """results = callee(args): scalars; array arguments may be written."""

    results: tuple[Var, ...]
    callee: Callee
    args: tuple[Atom, ...]
    loc: Loc = NOWHERE


# ---- memory ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Alloc:
    """result = a new array, zeroed or (zero=False) with contents nobody may read before a store.

    `space`: "" for an array like any other; in a kernel "shared" for one of all threads of a block,
    "dynamic" for one that has its length from the launch, "local" for a thread's own; "workspace"
    for one that takes its memory from the user's (api/workspace.py).
    """

    result: Var
    shape: tuple[Atom, ...]
    zero: bool = True
    loc: Loc = NOWHERE
    space: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """result = array[index].  Reverse: d_array[index] += d_result."""

    result: Var
    array: Atom
    index: tuple[Atom, ...]
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """array[index] = value.  Reverse: t = d_array[index]; d_array[index] = 0; d_value += t.

    `again`: the value is there already, and this only says whose it is (kernels/winners.py).
    """

    array: Atom
    index: tuple[Atom, ...]
    value: Atom
    loc: Loc = NOWHERE
    again: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Accumulate:
    """array[index] += value.  Reverse: d_value += d_array[index].

    `atomic`: other threads may do so at the same time.
    """

    array: Atom
    index: tuple[Atom, ...]
    value: Atom
    loc: Loc = NOWHERE
    atomic: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """start:stop:step in an Index view, with Python's meaning; None where left out."""

    start: Atom | None = None
    stop: Atom | None = None
    step: Atom | None = None


Item = Atom | Slice | None


@dataclass(frozen=True, slots=True)
class Index:
    """base[items]: an integer drops its axis, a Slice keeps it, None adds one of length 1."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Transpose:
    """The axes of the base in the order `axes`."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same contiguous memory under another shape."""

    shape: tuple[Atom, ...]


How = Index | Transpose | Reshape


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """result aliases base.  The shadow of a view is the same view of the shadow."""

    result: Var
    base: Atom
    how: How
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Dim:
    """result = array.shape[axis]."""

    result: Var
    array: Atom
    axis: int
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Gemm:
    """out += a @ b for matrices, which do not overlap out.

    Reverse: d_a += d_out @ b.T; d_b += a.T @ d_out, which are two Gemms again.
    """

    out: Atom
    a: Atom
    b: Atom
    loc: Loc = NOWHERE


# ---- regions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Statements with parameters and yields: a function's body or a region's."""

    params: tuple[Var, ...] = ()
    stmts: tuple[Stmt, ...] = ()
    yields: tuple[Atom, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class If:
    """results = what the arm that `cond` chooses yields; the arms have no parameters."""

    results: tuple[Var, ...]
    cond: Atom
    then: Block
    orelse: Block
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class For:
    """for k in range(count), carrying values: body.params = (k, *carried), body.yields = carried.

    results are the carried values at the end: `inits` if count <= 0.  `parallel`: the user
    promised independent iterations (prange); carried values are then reductions.  `slots`: reverse
    mode runs it with that many snapshots of its state instead of caches (checkpoint.py).
    `reverse`: it is part of a reverse sweep, and free to add up in another order (order.py).
    """

    results: tuple[Var, ...]
    count: Atom
    inits: tuple[Atom, ...]
    body: Block
    parallel: bool = False
    loc: Loc = NOWHERE
    slots: Atom | None = None
    reverse: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class While:
    """do body while go: body.params = carried, body.yields = (go, *carried).  note [Regions]"""

    results: tuple[Var, ...]
    inits: tuple[Atom, ...]
    body: Block
    loc: Loc = NOWHERE


# ---- threads -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Barrier:
    """No thread of the `scope`, a block or a warp, goes on before all have come here."""

    scope: str = "block"
    loc: Loc = NOWHERE


@dataclass(frozen=True, slots=True, eq=False)
class Atomic:
    """result = array[index]; array[index] = op(result, value): in one step, whoever else does so.

    `op`: add, sub, max, min, nanmax, nanmin (nan counts as nothing), exch, and, or, xor, inc, dec,
    cas (args: compare, value).
    A sum whose result is not used is an `Accumulate`.  `settled`: which thread's value is left is
    said by a `Store` after it, which has the derivative.
    """

    result: Var
    op: str
    array: Atom
    index: tuple[Atom, ...]
    args: tuple[Atom, ...]
    loc: Loc = NOWHERE
    settled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Shuffle:
    """result = the value that another thread of the warp has.  All of its threads take part.

    `kind`: down and up (`lane` is the distance), xor (the mask), idx (the lane); a thread whose
    source is out of the warp gets its own value.
    """

    result: Var
    kind: str
    value: Atom
    lane: Atom
    loc: Loc = NOWHERE


# ---- effects -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Raise:
    """Raise exception(*args) if cond; nothing after it in its block runs then.

    `stated`: by the user, who has written it; otherwise it is a check that Numba makes.
    """

    cond: Atom
    exception: type[BaseException]
    args: tuple[Atom, ...] = ()
    loc: Loc = NOWHERE
    stated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Print:
    """print(*args)."""

    args: tuple[Atom, ...]
    loc: Loc = NOWHERE


Stmt = (
    Prim | Extern | Custom | Call | Alloc | Load | Store | Accumulate | View | Dim | Gemm
    | If | For | While | Barrier | Atomic | Shuffle | Raise | Print
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A program: `block.params` are its arguments, `block.yields` its results.

    `options` are the user's compiler options (fastmath, boundscheck, ...).  `kernel`: if many
    threads run it at once, how many a block has along each axis. note [Threads]  `apart`: sets of
    parameters that share no memory that is written with those outside the set.
    """

    name: str
    block: Block
    loc: Loc = NOWHERE
    options: dict[str, object] = field(default_factory=dict)
    kernel: tuple[int, int, int] | None = None
    apart: tuple[frozenset[Var], ...] = ()

    @property
    def params(self) -> tuple[Var, ...]:
        return self.block.params

    @property
    def results(self) -> tuple[Atom, ...]:
        return self.block.yields
