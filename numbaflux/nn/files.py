"""Parameters in files, by safetensors: arrays under their names, which other tools read too."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from numbaflux import Layout

GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class Saved(NamedTuple):
    """What a file holds: parameters, optimiser state and generator (None if not saved), step."""

    p: np.ndarray
    state: np.ndarray | None
    step: int
    rng: np.random.Generator | None


def save(
    path: str | PathLike[str],
    net: Layout,
    p: np.ndarray,
    state: np.ndarray | None = None,
    step: int = 0,
    rng: np.random.Generator | None = None,
) -> None:
    """Write parameters `p` under the names of `net`, and what is needed to go on with training.

    Tensors are called `l1.W`, rows of the optimiser's state `state.0/l1.W`; the layout, the step
    and the generator are JSON in the metadata.  Needs safetensors.

    >>> import tempfile
    >>> from numbaflux import nn
    >>> net = nn.layout("Net", l1=nn.Dense(2, 16))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.save(f"{folder}/net.safetensors", net, net.init(0), step=7)
    ...     nn.load(f"{folder}/net.safetensors", net).step
    7
    """
    from safetensors.numpy import save_file

    rows = {"": p} | {f"state.{k}/": row for k, row in enumerate(() if state is None else state)}
    # safetensors writes the memory of an array, whatever its strides: they must be C's
    arrays = {
        f"{row}{name}": np.ascontiguousarray(values)[start:][: int(np.prod(shape))].reshape(shape)
        for row, values in rows.items()
        for name, start, shape in net.leaves()
    }
    layout = [[name, list(shape)] for name, _, shape in net.leaves()]
    about = {"layout": json.dumps({net.name: layout}), "step": str(step)}
    if rng is not None:
        about["rng"] = json.dumps(rng.bit_generator.state, default=np.ndarray.tolist)
    save_file(arrays, path, about)


def load(path: str | PathLike[str], net: Layout) -> Saved:
    """What `save` has written; also the parameters of any file with these names and shapes.

    Raises ValueError if the file is of another layout, naming the first difference.  Needs
    safetensors.
    """
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        about = file.metadata() or {}
        names = file.keys()
        arrays = {name: file.get_tensor(name) for name in names}
    rows: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        row, _, name = key.rpartition("/")
        rows.setdefault(row, {})[name] = array
    for row in rows.values():
        _same(path, net, row)
    p, *state = (_flat(net, rows[row]) for row in sorted(rows, key=_number))
    rng = json.loads(about["rng"]) if "rng" in about else None
    return Saved(
        p, np.array(state) if state else None, int(about.get("step", 0)), rng and _generator(rng)
    )


def _number(row: str) -> int:
    return int(row.removeprefix("state.") or -1)


def _flat(net: Layout, arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([arrays[name].ravel() for name, _, _ in net.leaves()])


def _same(path: Any, net: Layout, arrays: dict[str, np.ndarray]) -> None:
    """The arrays are those of the layout, or the first that is not is named."""
    wanted = {name: shape for name, _, shape in net.leaves()}
    for name, shape in wanted.items():
        if name not in arrays:
            raise ValueError(f"{path} has no {name}, {net.name} has one of shape {shape}")
        if arrays[name].shape != shape:
            raise ValueError(f"{name} is {arrays[name].shape} in {path}, {shape} in {net.name}")
    for name in arrays:
        if name not in wanted:
            raise ValueError(f"{path} has {name}, {net.name} has not")


def _generator(state: dict[str, Any]) -> np.random.Generator:
    name = state["bit_generator"]
    if name not in GENERATORS:
        raise ValueError(f"{name} is no bit generator of NumPy")
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)
