"""How a user's arguments and results are made of the IR's scalars and arrays.

The IR has no tuples.  A `Tree` says which leaf variables a tuple, a namedtuple or a plain value
of the user's stands for; the writer takes arguments apart and puts results together with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from numbaflux.ir.nodes import Atom, Function


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar, array or opaque value."""

    atom: Atom


@dataclass(frozen=True, slots=True)
class Tuple:
    """A tuple, or with `cls` a namedtuple, of trees."""

    items: tuple[Tree, ...]
    cls: type | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value known when the function is read: None, or the default of an omitted argument."""

    value: object = None


Tree = Leaf | Tuple | Fixed


def leaves(tree: Tree) -> Iterator[Atom]:
    """The atoms of a tree from left to right."""
    match tree:
        case Leaf(atom):
            yield atom
        case Tuple(items):
            for item in items:
                yield from leaves(item)
        case Fixed():
            return


def map_tree(f: Callable[[Atom], Tree], tree: Tree) -> Tree:
    """The tree with each leaf replaced by f(its atom)."""
    match tree:
        case Leaf(atom):
            return f(atom)
        case Tuple(items, cls):
            return Tuple(tuple(map_tree(f, item) for item in items), cls)
        case Fixed():
            return tree


def with_leaves(tree: Tree, atoms: Iterable[Atom]) -> Tree:
    """The tree with its leaves replaced by `atoms`, from left to right."""
    order = iter(atoms)
    return map_tree(lambda _: Leaf(next(order)), tree)


@dataclass(frozen=True, slots=True)
class Program:
    """An IR function with the user's signature: what reading gives and every transform returns.

    `args` are (name, tree) in the user's order; their leaves, from left to right, are
    `function.params`. The leaves of `result` are `function.results`. `compiled`: the same in a form
    that runs faster and is only compiled, never transformed.
    """

    function: Function
    args: tuple[tuple[str, Tree], ...]
    result: Tree
    compiled: Callable[[], Program] | None = None
