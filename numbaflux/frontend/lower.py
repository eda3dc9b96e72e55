"""Control: the tree of Numba's statements becomes the IR's regions.

    Branch, When -> If          results = names the arms leave different that are read after it
    Each         -> For         or, if the body may leave it, While with a counter and `go`
    Repeat       -> While       carried = names the body assigns that are read at its head or after
    Raise        -> Raise       control does not come back

note [Undefined]  What a loop carries without a value on entry starts as a zero or an empty array,
which nobody reads.

note [Threads]  In a loop that Numba runs on threads a division by zero gives inf or nan, whatever
the error model: Numba compiles its body on its own.  A loop with a `raise` it runs on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from numba.core import ir, types

from numbaflux.errors import UnsupportedError
from numbaflux.frontend import arrays, convert, statements
from numbaflux.frontend.containers import Items, items_of
from numbaflux.frontend.facts import Facts, facts
from numbaflux.frontend.merge import Env, Side, merge
from numbaflux.frontend.read import Typed
from numbaflux.frontend.session import Session
from numbaflux.frontend.signature import argument, tree_of, value_of
from numbaflux.frontend.structure import assigned, live, raises
from numbaflux.frontend.tree import (
    RESULT,
    Branch,
    Do,
    Each,
    Goto,
    Node,
    Raise,
    Repeat,
    Set,
    When,
)
from numbaflux.frontend.values import GO, Unmerged, Value, leaves, plain, rebuild, same_shape
from numbaflux.frontend.writer import Writer
from numbaflux.ir.build import index
from numbaflux.ir.nodes import BOOL, Array, Atom, Const, Function, Loc, Var
from numbaflux.ir.nodes import Raise as RaiseStmt
from numbaflux.ir.trees import Program
from numbaflux.ir.trees import leaves as tree_leaves

Write = Callable[[], bool]  # writes statements; False if control cannot come out of them


@dataclass
class Lowering:
    """One function being lowered: what is known of it, where to write, its names' values."""

    typed: Typed
    session: Session
    b: Writer
    env: Env
    options: Mapping[str, Any]  # of the compiler
    ieee: bool  # a division by zero gives inf or nan instead of an exception
    threaded: bool = False  # so it does on threads, whatever `ieee`. note [Threads]
    facts: Facts = field(init=False)
    chosen: dict[Var, tuple[Atom, Const, Const]] = field(default_factory=dict)  # of `go`
    views: dict[Var, tuple[Atom, tuple]] = field(default_factory=dict)  # of getitem
    operands: dict[int, tuple[Any, tuple[Value, ...]]] = field(default_factory=dict)  # of a Lazy

    def __post_init__(self) -> None:
        self.facts = facts(self.typed)

    # ---- sequences -----------------------------------------------------------------------------

    def sequence(self, nodes: Sequence[Node], after: frozenset[str]) -> bool:
        """Lower nodes; `after` are the names read after them. Whether control comes out."""
        lives = [after]
        for node in reversed(nodes[1:]):
            lives.append(live((node,), lives[-1]))
        return all(self.node(node, names) for node, names in zip(nodes, reversed(lives)))

    def node(self, node: Node, after: frozenset[str]) -> bool:
        match node:
            case Do(stmt):
                self.at(stmt.loc)
                statements.lower(self, stmt)
            case Set(target, source, loc):
                self.at(loc)
                self.set(target, source)
            case Goto(label):
                self.env[GO] = index(label)
            case When(label, body):
                return self.choose(
                    self.going(label), lambda: self.sequence(body, after), _nothing, after
                )
            case Branch(cond, then, orelse, loc):
                self.at(loc)
                return self.choose(
                    convert.truth(self.b, self.get(cond), self.loc),
                    lambda: self.sequence(then, after),
                    lambda: self.sequence(orelse, after),
                    after,
                )
            case Each():
                self.at(node.loc)
                return self.each(node, after)
            case Repeat():
                self.at(node.loc)
                return self.repeat(node, after)
            case Raise(stmt):
                self.at(stmt.loc)
                statements.lower_raise(self, stmt)
                return False
            case _:
                assert_never(node)
        return True

    def at(self, loc: ir.Loc) -> None:
        self.b.loc = self.session.loc_of(loc, self.typed.py_func)

    @property
    def loc(self) -> Loc:
        return self.b.loc

    def unsupported(self, what: str, why: str, instead: str) -> UnsupportedError:
        return UnsupportedError(what, self.loc, why, instead)

    # ---- names ---------------------------------------------------------------------------------

    def get(self, name: str) -> Value:
        value = self.env.get(name)
        if isinstance(value, Unmerged):
            raise UnsupportedError(value.what, value.loc, value.why, value.instead)
        if value is None:  # undefined on this path: what it holds does not matter
            value = self.placeholder(name)
        if value is None:
            raise self.unsupported(
                f"`{plain(name)}` may be undefined here", "it is not set on every path",
                "set it before",
            )  # fmt: skip
        return value

    def whole(self, name: str) -> Value:
        """A name's value, with memory if it is an array."""
        value = self.get(name)
        return arrays.materialise(self.b, value) if isinstance(value, arrays.Lazy) else value

    def set(self, target: str, source: str | None) -> None:
        if source is None or source not in self.env:
            self.env.pop(target, None)
            return
        value = self.env[source]
        if not isinstance(value, Unmerged):
            value = arrays.materialise(self.b, value)
            value = convert.coerce(self.b, value, self.type_of(target), self.wish(target))
        self.env[target] = value

    def type_of(self, name: str) -> types.Type:
        """Numba's type of a name, of a phi half, or of the result."""
        if name == RESULT:
            return self.typed.return_type
        return self.typed.typemap[name.rstrip("!")]

    def wish(self, name: str) -> str:
        """The user's name for what is stored under one of Numba's names."""
        if name == GO:
            return "go"
        return "result" if name == RESULT else plain(self.facts.wishes.get(name, name))

    def placeholder(self, name: str) -> Value | None:
        return convert.placeholder(self.b, self.type_of(name), self.wish(name))

    # ---- If ------------------------------------------------------------------------------------

    def going(self, label: int) -> Atom:
        """Whether go == label, as the condition that decided it where that is known."""
        go = self.env.get(GO)
        if go is None:
            return Const(False, BOOL)
        if go in self.chosen:
            cond, yes, no = self.chosen[go]
            if yes.value == label:
                return cond
            return self.b.prim("not", cond) if no.value == label else Const(False, BOOL)
        return self.b.prim("eq", go, index(label))

    def choose(self, cond: Atom, then: Write, orelse: Write, after: frozenset[str]) -> bool:
        """If cond: then, else: orelse, merging what differs and is read after."""
        if isinstance(cond, Const):
            return then() if cond.value else orelse()
        outer, loc = self.env, self.loc
        sides: list[Side] = []
        falls: list[bool] = []
        for write in (then, orelse):
            self.env, self.b.loc = dict(outer), loc
            with self.b.arm() as arm:
                falls.append(write())
            sides.append(Side(arm, self.env))
        self.b.loc = loc
        yes, no = sides
        if all(falls):
            self.join(cond, yes, no, after)
        elif any(falls):
            self.abort(cond, yes, no, falls[0])
        else:
            self.b.if_(cond, yes.arm.block, no.arm.block)
        return any(falls)

    def join(self, cond: Atom, yes: Side, no: Side, after: frozenset[str]) -> None:
        names = [n for n in {**yes.env, **no.env} if n in after]
        merged = merge(self.b, cond, yes, no, names, self.wish)
        go, a, c = merged.get(GO), yes.env.get(GO), no.env.get(GO)
        if isinstance(go, Var) and isinstance(a, Const) and isinstance(c, Const):
            self.chosen[go] = (cond, a, c)
        self.env = merged

    def abort(self, cond: Atom, yes: Side, no: Side, falls: bool) -> None:
        """One arm always raises: what the other does (yes, if `falls`) needs no If around it."""
        raises, goes_on = (no, yes) if falls else (yes, no)
        if falls:
            cond = self.b.prim("not", cond)
        match raises.arm.block.stmts:
            case [RaiseStmt(Const(True)) as alone]:
                self.b.append(replace(alone, cond=cond))
            case _:
                with self.b.arm() as nothing:
                    pass
                self.b.if_(cond, raises.arm.block, nothing.block)
        for stmt in goes_on.arm.block.stmts:
            self.b.append(stmt)
        self.env = goes_on.env

    # ---- loops ---------------------------------------------------------------------------------

    def each(self, node: Each, after: frozenset[str]) -> bool:
        items = items_of(self, self.whole(node.iterator))
        again = after | live(node.body, after)
        if items.unrolled is not None:
            return self.unroll(node, items.unrolled, again)
        if node.exits and items.slots is not None:
            raise self.unsupported(
                "a checkpointed loop that may be left early",
                "where its snapshots go is planned from the number of its trips",
                "carry a flag and do nothing once it is set",
            )
        carried = self.carried(node.body, again)
        write = self.each_leaving if node.exits else self.each_trip
        write(node, items, carried, again)
        return True

    def each_trip(
        self, node: Each, items: Items, carried: list[tuple[str, Value]], again: frozenset[str]
    ) -> None:
        """A For: every trip is made."""
        outer, loc = self.env, self.loc
        atoms, names = self.atoms(carried)
        label = self.wish(node.item) if items.counts else "t"
        label = "k" if label == "t" else label
        before = self.threaded
        self.threaded = before or self.on_threads(node, items)
        with self.b.for_(items.count, atoms, label, names, items.parallel, items.slots) as loop:
            self.env = outer | restored(carried, loop.carried)
            self.env[node.item] = self.item(node, items, loop.k)
            falls = self.sequence(node.body, again)
            loop.yields = self.yields(carried, again) if falls else loop.carried
            self.b.loc = loc
        self.env, self.threaded = outer | restored(carried, loop.results), before

    def on_threads(self, node: Each, items: Items) -> bool:
        """Whether Numba runs a loop on threads. note [Threads]"""
        return items.parallel and bool(self.options.get("parallel")) and not raises(node.body)

    def each_leaving(
        self, node: Each, items: Items, carried: list[tuple[str, Value]], again: frozenset[str]
    ) -> None:
        """A While that counts: it ends when the items do, or with another `go`."""
        outer, loc = self.env, self.loc
        atoms, names = self.atoms(carried)
        inits = [index(0), index(node.label), *atoms]
        with self.b.while_(inits, ["k", "go", *names]) as loop:
            k, _, *params = loop.params
            self.env = outer | restored(carried, params) | {GO: index(node.label)}

            def trip() -> bool:
                self.env[node.item] = self.item(node, items, k)
                return self.sequence(node.body, again | {GO})

            more = self.b.prim("lt", k, items.count)
            self.choose(more, trip, _nothing, again | {GO, *(name for name, _ in carried)})
            again_too = self.b.prim("and", more, self.going(node.label))
            go = self.env[GO]
            values = self.yields(carried, again)
            loop.yields = [again_too, self.b.add(k, index(1)), go, *values]
            self.b.loc = loc
        self.env = outer | restored(carried, loop.results[2:]) | {GO: loop.results[1]}

    def repeat(self, node: Repeat, after: frozenset[str]) -> bool:
        again = after | live(node.body, after)
        carried = self.carried(node.body, again)
        outer, loc = self.env, self.loc
        atoms, names = self.atoms(carried)
        with self.b.while_([index(node.label), *atoms], ["go", *names]) as loop:
            self.env = outer | restored(carried, loop.params[1:])
            falls = self.sequence(node.body, again | {GO})
            if falls:
                values = self.yields(carried, again)
                loop.yields = [self.going(node.label), self.env[GO], *values]
            else:
                loop.yields = [Const(False, BOOL), *loop.params]
            self.b.loc = loc
        self.env = outer | restored(carried, loop.results[1:]) | {GO: loop.results[0]}
        return falls

    def unroll(self, node: Each, items: Sequence[Value], again: frozenset[str]) -> bool:
        """The body once for each item."""

        def trips(i: int) -> bool:
            if i == len(items):
                return True
            self.env[node.item] = items[i]
            if not self.sequence(node.body, again):
                return False
            if not node.exits:
                return trips(i + 1)
            return self.choose(self.going(node.label), lambda: trips(i + 1), _nothing, again)

        if node.exits:
            again |= {GO}
            self.env[GO] = index(node.label)
        return trips(0)

    def item(self, node: Each, items: Items, k: Atom) -> Value:
        value = items.at(k, self.wish(node.item))
        return convert.coerce(self.b, value, self.type_of(node.item), self.wish(node.item))

    # ---- carried values ------------------------------------------------------------------------

    def carried(self, body: Sequence[Node], again: frozenset[str]) -> list[tuple[str, Value]]:
        """The names a loop carries, each with its value on entry. note [Undefined]"""
        found = []
        for name in sorted(assigned(body) & again - {GO}):
            value = self.env.get(name)
            if value is None and name in self.facts.phis:
                value = self.env.get(name + "!")  # of the same type, and no memory is spent
            if value is None:
                value = self.placeholder(name)
            if value is not None and not isinstance(value, Unmerged):
                value = convert.carried(self.b, value, self.type_of(name), self.wish(name))
                found.append((name, value))
        return found

    def atoms(self, carried: list[tuple[str, Value]]) -> tuple[list[Atom], list[str]]:
        """What the region carries, and the names for it."""
        pairs = [(a, self.wish(name)) for name, v in carried if moves(v) for a in leaves(v)]
        return [a for a, _ in pairs], [name for _, name in pairs]

    def yields(self, carried: list[tuple[str, Value]], again: frozenset[str]) -> list[Atom]:
        """The carried names' values at the end of a trip."""
        atoms: list[Atom] = []
        for name, before in carried:
            value = self.env.get(name, before)
            if not isinstance(value, Unmerged):
                value = convert.carried(self.b, value, self.type_of(name), self.wish(name))
            if isinstance(value, Unmerged) or not same_shape(value, before):
                raise self.unsupported(
                    f"`{self.wish(name)}` changes its kind from one trip of a loop to the next",
                    "what it is would only be known when the program runs",
                    "use two names",
                )
            if moves(before):
                atoms += leaves(value)
        return atoms

    # ---- memory --------------------------------------------------------------------------------

    def remember_operands(self, value: Value, operands: Sequence[Value]) -> None:
        self.operands[id(value)] = (value, tuple(operands))

    def may_alias(self, value: Value, out: Atom) -> bool:
        """Whether a store of `value` into `out` could change what `value` still has to read."""
        if isinstance(value, arrays.Lazy):
            known = self.operands.get(id(value))
            return known is None or any(self.may_alias(v, out) for v in known[1])
        return arrays.is_array(value) and value is not out and self.b.may_overlap(value, out)

    def may_overlap(self, value: Value, out: Atom) -> bool:
        """Whether anything that `value` still has to read may share memory with `out`."""
        if isinstance(value, arrays.Lazy):
            known = self.operands.get(id(value))
            return known is None or any(self.may_overlap(v, out) for v in known[1])
        return arrays.is_array(value) and self.b.may_overlap(value, out)

    def array_type_of(self, a: Value) -> types.Array:
        t = a.type
        assert isinstance(t, Array)
        return types.Array(getattr(types, str(t.element)), t.ndim, t.layout)

    # ---- functions -----------------------------------------------------------------------------

    def apart(self, typed: Typed, options: dict[str, Any]) -> Program:
        """Another function's statements as a program of its own."""
        return whole(typed, self.session, options)

    def inline(self, typed: Typed, env: Env, options: Mapping[str, Any]) -> Value:
        """Another function's statements written here; its result."""
        callee = Lowering(typed, self.session, self.b, env, options, ieee(options), self.threaded)
        loc = self.loc
        value = callee.body()
        self.b.loc = loc
        return value

    def body(self) -> Value:
        """Lower the whole function; its result."""
        nodes = self.session.structure(self.typed)
        self.sequence(nodes, frozenset({RESULT}))
        return self.get(RESULT)


def whole(typed: Typed, session: Session, options: dict[str, Any]) -> Program:
    """The program of a function."""
    loc = typed.loc
    b = Writer(loc)
    args = [(n, argument(n, ty, loc)) for n, ty in zip(typed.arg_names, typed.arg_types)]
    env = {f"arg.{name}": value_of(tree) for name, tree in args}
    params = [a for _, tree in args for a in tree_leaves(tree) if isinstance(a, Var)]
    b.arguments.update(params)
    low = Lowering(typed, session, b, env, options, ieee(options))
    result = convert.coerce(b, low.body(), typed.return_type, "result")
    tree = tree_of(result, loc)
    block = b.block(params, tuple(tree_leaves(tree)))
    return Program(Function(typed.py_func.__name__, block, loc, options), tuple(args), tree)


def ieee(options: Mapping[str, Any]) -> bool:
    """Whether a division by zero gives inf or nan with these options."""
    return options.get("error_model") == "numpy"


def moves(v: Value) -> bool:
    """Whether a carried value lives in variables of the loop: all but what is known, and lists."""
    return convert.movable(v)


def restored(carried: list[tuple[str, Value]], atoms: Sequence[Atom]) -> Env:
    """The carried names with new atoms."""
    it: Any = iter(atoms)
    return {name: rebuild(v, it) if moves(v) else v for name, v in carried}


def _nothing() -> bool:
    return True
