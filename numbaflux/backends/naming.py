"""Names in written code: the user's where possible, legal and unique always."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

MODULES = ("math", "np", "numba", "cuda", "runtime", "lanes", "vecmath", "watch", "namedtuple")
CALLED = ("abs", "bool", "float", "int", "len", "max", "min", "print", "range")
EXCEPTIONS = tuple(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
RESERVED = frozenset((*keyword.kwlist, *MODULES, *CALLED, *EXCEPTIONS))

_TEMPORARY = re.compile(r"t[_\d]*|\$.*")


def is_temporary(name: str) -> bool:
    """Whether a wish is nobody's own: t, t1, $12load."""
    return _TEMPORARY.fullmatch(name) is not None


def legal(wish: str) -> str:
    """An identifier close to the wish: `x.1` is x, `$3` is t."""
    wish = "t" if wish.startswith("$") else wish.split(".")[0]
    wish = re.sub(r"\W", "_", wish, flags=re.ASCII).rstrip("_") or "t"
    return f"v{wish}" if wish[0].isdigit() else wish


class Names:
    """Hands out names, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(RESERVED) | set(taken)

    def inside(self) -> Names:
        """Those of a function of the module: apart, but for the names of the module."""
        return Names(self.taken)

    def fresh(self, wish: str) -> str:
        """The wish, or with the first number that makes it unique: x, x_1, x_2."""
        base = name = legal(wish)
        count = 0
        while name in self.taken:
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name
