"""The control tree: a function's statements, still Numba's, under structured control flow.

What `structure.py` makes of a control flow graph and `lower.py` turns into IR.  Names are Numba's
variable names.  Every name has one definition, except phi halves (`Set`), whose target `v!` is
assigned on several edges and read at the head of its block (`Set("v", "v!")`).

note [Go]  A jump that the nesting cannot express is `Goto(label)`: it sets the one variable `go`.
A `When(label, body)` runs its body if `go` is that label, and otherwise nothing.  Return is
`Goto(RETURN)` after setting the name RESULT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numba.core import ir

RETURN = -1  # the label of the function's end
RESULT = "$result"  # the name that holds what is returned


@dataclass(frozen=True, slots=True)
class Do:
    """One of Numba's statements: Assign (never of a phi), SetItem, StaticSetItem, Print, ..."""

    stmt: Any  # ir.Stmt, but that class does not declare the `loc` all statements have


@dataclass(frozen=True, slots=True)
class Set:
    """target := source, a phi half; source None: undefined, on this path nobody reads target."""

    target: str
    source: str | None
    loc: ir.Loc


@dataclass(frozen=True, slots=True)
class Goto:
    """go := label. note [Go]"""

    label: int


@dataclass(frozen=True, slots=True)
class When:
    """if go == label: body"""

    label: int
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """if cond: then, else: orelse"""

    cond: str
    then: tuple[Node, ...]
    orelse: tuple[Node, ...]
    loc: ir.Loc


@dataclass(frozen=True, slots=True)
class Each:
    """for item in iterator: body.

    `iterator` is the name the getiter expression was assigned to, `item` the name of pair_first.
    `exits`: the body may leave the loop: it ends each trip with `go` set, and the loop goes on
    only while go == label.  Not `exits`: it always runs to exhaustion and `go` is not touched.
    """

    iterator: str
    item: str
    body: tuple[Node, ...]
    label: int
    exits: bool
    loc: ir.Loc


@dataclass(frozen=True, slots=True)
class Repeat:
    """do: body, while go == label."""

    body: tuple[Node, ...]
    label: int
    loc: ir.Loc


@dataclass(frozen=True, slots=True)
class Raise:
    """A StaticRaise or DynamicRaise of Numba's: control does not come back."""

    stmt: ir.StaticRaise | ir.DynamicRaise


Node = Do | Set | Goto | When | Branch | Each | Repeat | Raise
