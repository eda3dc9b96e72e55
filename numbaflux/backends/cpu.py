"""A program as a Python module for `numba.njit`.

note [Recursion]  A function that calls itself stands before the one that calls it, and has its
signature written out, which spares Numba to infer the type of what is not compiled yet.
"""

from __future__ import annotations

import builtins
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from numbaflux.backends.expressions import constant, dtype_name
from numbaflux.backends.naming import Names
from numbaflux.backends.writer import INDENT, WIDTH, Writer
from numbaflux.ir.nodes import (
    Array,
    Atom,
    Callee,
    Const,
    For,
    Function,
    Global,
    Raise,
    Scalar,
    Type,
    Var,
)
from numbaflux.ir.trees import Fixed, Leaf, Program, Tree, Tuple
from numbaflux.ir.walk import callees, globals_of, walk

SMALL = 64  # elements of a global array that is written out


@dataclass(frozen=True, slots=True)
class Source:
    """A module's text, and what lies beside it.

    `constants`: arrays that the text loads from `<module file without .py>.<name>.npy`.
    `classes`: the classes it names, and a workspace; a class that cannot be imported is made anew
    in the text, which is then no use to another process: it is not `portable`. `instead`: what it
    calls in its place.
    """

    text: str
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    classes: dict[str, object] = field(default_factory=dict)
    instead: dict[str, object] = field(default_factory=dict)
    portable: bool = True


def write(
    name: str,
    program: Program,
    options: Mapping[str, object],
    frugal: object = None,
    workspace: object = None,
) -> Source:
    """The module of a program, whose function is called `name`.

    `options` are njit's; the error model is always numpy's, for the IR's division is IEEE's.
    `frugal`: what is called in its place when it cannot afford what it would keep.
    `workspace`: where it keeps that.
    """
    return Module(name, program, options, frugal, workspace).source()


class Module:
    compiler = "import numba"

    def __init__(
        self,
        name: str,
        program: Program,
        options: Mapping[str, object],
        frugal: object = None,
        workspace: object = None,
    ) -> None:
        self.program, self.options = program, options
        self.fn: Function = program.function
        self.names = Names([name, "workspace"] if workspace else [name])
        self.name = name
        self.imports: list[str] = []
        self.definitions: list[str] = []
        self.classes: dict[str, object] = {}
        self.instead: dict[str, object] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.portable = True
        self.given: dict[Atom | Callee, str] = {}
        self.callees = callees(self.fn)
        functions = [self.fn, *(callee.function for callee in self.callees)]
        self.exceptions = {e: self._exception(e) for fn in functions for e in _raised(fn)}
        self.tuples = {c: self._tuple_class(c) for c in _tuple_classes(program)}
        for array in (a for fn in functions for a in globals_of(fn.block)):
            if array not in self.given:
                self.given[array] = self._global(array)
        for callee in self.callees:
            self.given[callee] = self.names.fresh(callee.name)
        self.frugal = frugal and self._frugal(frugal)
        if workspace:
            self.definitions.append("# workspace: memory that is used again by the next call")
            self.classes["workspace"] = workspace
        self.inside = self.names.inside()
        self.args = [self._arg(arg, tree) for arg, tree in program.args]

    def source(self) -> Source:
        writer = self.writer()
        if self.frugal:
            writer.frugal = f"{self.frugal}({', '.join(self.args[: given(self.program)])})"
        for arg, (_, tree) in zip(self.args, self.program.args):
            self._unpack(writer, arg, tree)
        writer.block(self.fn.block)
        self._return(writer)
        if not writer.lines:
            writer.line("pass")
        function: list[str] = []
        for callee in self.callees:
            function += [*self._callee(callee), "", ""]
        function += [*self._decorator(self.fn), *self._signature(), *writer.lines]
        text = "\n".join([self._header(function), *function]) + "\n"
        return Source(text, self.constants, self.classes, self.instead, self.portable)

    def writer(self) -> Writer:
        return Writer(self.fn, self.names, self.given, self.exceptions)

    # ---- the module ----------------------------------------------------------------------------

    def _header(self, function: list[str]) -> str:
        body = "\n".join([*self.definitions, *function])
        imports = [
            line
            for module, line in (
                (r"\bmath\.", "import math"),
                (r"\bnamedtuple\(", "from collections import namedtuple"),
            )
            if re.search(module, body)
        ]
        third = [self.compiler] + ["import numpy as np"] * bool(re.search(r"\bnp\.", body))
        used = [m for m in ("lanes", "runtime", "vecmath", "watch") if re.search(rf"\b{m}\.", body)]
        own = [f"from numbaflux import {', '.join(used)}"] if used else []
        groups = [
            [f'"""{self.name}, written by numbaflux."""'], imports, third, own,
            self.imports, self.definitions,
        ]  # fmt: skip
        return "\n\n".join("\n".join(g) for g in groups if g) + "\n\n"

    def _decorator(self, fn: Function, signature: str = "") -> list[str]:
        options = {k: v for k, v in self.options.items() if v is not None}
        options["error_model"] = "numpy"
        if not any(isinstance(s, For) and s.parallel for s in walk(fn.block)):
            options.pop("parallel", None)  # Numba warns when it finds nothing to do
        parts = [f"{key}={_literal(value)}" for key, value in sorted(options.items())]
        return _call("@numba.njit(", [f'"{signature}"'] * bool(signature) + parts, ")")

    # ---- functions that are called -------------------------------------------------------------

    def _callee(self, callee: Callee) -> list[str]:
        """note [Recursion]"""
        fn, names = callee.function, self.inside.inside()
        params = {p: names.fresh(p.name) for p in fn.params}
        writer = Writer(fn, names, {**self.given, **params}, self.exceptions)
        writer.block(fn.block)
        results = ", ".join(writer.expressions.text(a) for a in fn.results)
        if results or not writer.lines:
            writer.line(f"return {results}" if results else "pass")
        head = _call(f"def {self.given[callee]}(", list(params.values()), "):")
        return [*self._decorator(fn, _numba_signature(fn)), *head, *writer.lines]

    def _signature(self) -> list[str]:
        return _call(f"def {self.name}(", self._params(), "):")

    def _params(self) -> list[str]:
        """The arguments; those at the end that are known have their value as default."""
        params = list(self.args)
        for i in reversed(range(len(params))):
            tree = self.program.args[i][1]
            if not isinstance(tree, Fixed) or not _is_plain(tree.value):
                break
            params[i] = f"{params[i]}={tree.value!r}"
        return params

    def _arg(self, wish: str, tree: Tree) -> str:
        name = self.names.fresh(wish)
        if isinstance(tree, Leaf):
            self.given[tree.atom] = name
        return name

    def _unpack(self, writer: Writer, path: str, tree: Tree) -> None:
        """Take a tuple argument apart into the variables of its leaves that are used."""
        if not isinstance(tree, Tuple):
            return
        items = [i.atom if isinstance(i, Leaf) else None for i in tree.items]
        if items and all(isinstance(a, Var) and writer.counts[a] for a in items):
            names = [writer.names[a] for a in items if a is not None]
            writer.line(f"{', '.join(names)}{',' * (len(names) == 1)} = {path}")
            return
        for i, (item, atom) in enumerate(zip(tree.items, items)):
            if isinstance(atom, Var) and writer.counts[atom]:
                writer.line(f"{writer.names[atom]} = {path}[{i}]")
            self._unpack(writer, f"{path}[{i}]", item)

    # ---- results -------------------------------------------------------------------------------

    def _return(self, writer: Writer) -> None:
        tree = self.program.result
        if isinstance(tree, Fixed) and tree.value is None:
            return
        if isinstance(tree, Tuple) and tree.items:
            items = [self._result(writer, item) for item in tree.items]
            open_, close = (f"{self.tuples[tree.cls]}(", ")") if tree.cls else ("(", ")")
            plain = f"return {', '.join(items)}{',' * (len(items) == 1)}"
            if tree.cls is None and len(plain) <= WIDTH - len(INDENT):
                writer.line(plain)
                return
            for text in _call(f"return {open_}", items, close):
                writer.line(text)
            return
        writer.line(f"return {self._result(writer, tree)}")

    def _result(self, writer: Writer, tree: Tree) -> str:
        match tree:
            case Leaf(atom):
                return writer.expressions.text(atom)
            case Fixed(value):
                return repr(value)
            case Tuple(items, cls):
                inner = ", ".join(self._result(writer, item) for item in items)
                if cls:
                    return f"{self.tuples[cls]}({inner})"
                return f"({inner}{',' * (len(items) == 1)})"

    # ---- names of the module -------------------------------------------------------------------

    def _exception(self, cls: type) -> str:
        if getattr(builtins, cls.__name__, None) is cls:
            return cls.__name__
        return self._imported(cls) or self._made(
            cls, f"class {{name}}(Exception):\n{INDENT}{_document(cls)}"
        )

    def _tuple_class(self, cls: type) -> str:
        fields = ", ".join(f'"{f}"' for f in getattr(cls, "_fields", ()))
        form = f'{{name}} = namedtuple("{cls.__name__}", [{fields}])'
        return self._imported(cls) or self._made(cls, form)

    def _imported(self, cls: type) -> str | None:
        module = sys.modules.get(cls.__module__)
        if cls.__module__ == "__main__" or getattr(module, cls.__name__, None) is not cls:
            return None
        name = self.names.fresh(cls.__name__)
        renamed = "" if name == cls.__name__ else f" as {name}"
        self.imports.append(f"from {cls.__module__} import {cls.__name__}{renamed}")
        self.classes[name] = cls
        return name

    def _made(self, cls: type, form: str) -> str:
        name = self.names.fresh(cls.__name__)
        self.definitions.append(form.format(name=name))
        self.classes[name] = cls
        self.portable = False
        return name

    def _frugal(self, frugal: object) -> str:
        name = self.names.fresh("frugal")
        self.definitions.append(f"# {name}: the same in less memory, compiled when it is called")
        self.instead[name] = frugal
        return name

    def _global(self, array: Global) -> str:
        name = self.names.fresh(array.name)
        if array.value.size > SMALL:
            self.constants[name] = array.value
            self.definitions.append(f'{name} = np.load(__file__[:-3] + ".{name}.npy")')
        else:
            self.definitions.append(f"{name} = {_array(array)}")
        return name


def given(program: Program) -> int:
    """How many arguments there are before those at the end that are known."""
    known = [isinstance(tree, Fixed) for _, tree in program.args]
    return max((i for i, k in enumerate(known, 1) if not k), default=0)


def _numba_signature(fn: Function) -> str:
    """A function's types as Numba's source for them."""
    results = [numba_type(a.type) for a in fn.results]
    result = f"Tuple(({', '.join(results)}))" if len(results) > 1 else "".join(results) or "void"
    return f"{result}({', '.join(numba_type(p.type) for p in fn.params)})"


def numba_type(type: Type) -> str:
    """float64, float64[:, ::1], or in full what has no such short form."""
    match type:
        case Array(element, ndim, layout):
            rank_and_layout = f"{ndim}, '{layout}'{', readonly=True' * type.readonly}"
            if type.readonly or ndim == 0 or (ndim == 1 and layout == "F"):
                return f"Array({numba_type(element)}, {rank_and_layout})"
            dims = [":"] * ndim
            if layout != "A":
                dims[0 if layout == "F" else -1] = "::1"
            return f"{numba_type(element)}[{', '.join(dims)}]"
        case Scalar("bool"):
            return "boolean"
        case _:
            return str(type)


def _raised(fn: Function) -> list[type]:
    found = [stmt.exception for stmt in walk(fn.block) if isinstance(stmt, Raise)]
    return list(dict.fromkeys(found))


def _tuple_classes(program: Program) -> list[type]:
    def visit(tree: Tree) -> Iterator[type]:
        if isinstance(tree, Tuple):
            if tree.cls is not None:
                yield tree.cls
            for item in tree.items:
                yield from visit(item)

    return list(dict.fromkeys(visit(program.result)))


def _document(cls: type) -> str:
    return f'"""{cls.__name__}, whose own module cannot be imported."""'


def _literal(value: object) -> str:
    """An option of njit's as source, the same in every run."""
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(f'"{v}"' for v in sorted(value)) + "}"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _array(array: Global) -> str:
    """np.array([...]) with the array's element type and order."""
    t = array.type
    assert isinstance(t, Array) and isinstance(t.element, Scalar)

    def nested(value: np.ndarray) -> str:
        if value.ndim == 0:
            plain = Scalar("float64") if t.element.is_float else Scalar("int64")
            kind = t.element if t.element == Scalar("bool") else plain
            return constant(Const(value.item(), kind))[0]
        return f"[{', '.join(nested(v) for v in value)}]"

    function = "np.asfortranarray" if t.layout == "F" and t.ndim > 1 else "np.array"
    text = f"{function}({nested(array.value)}, dtype={dtype_name(t.element)})"
    return "\n".join(textwrap.wrap(text, WIDTH - 10, subsequent_indent=INDENT))


def _call(head: str, items: list[str], tail: str) -> list[str]:
    """head items tail, in one line or an item a line."""
    line = head + ", ".join(items) + tail
    if len(line) <= WIDTH - len(INDENT):
        return [line]
    return [head, *(f"{INDENT}{item}," for item in items), tail]
