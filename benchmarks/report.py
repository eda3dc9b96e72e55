"""The table that is printed, and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

Row = dict[str, Any]


def heading(others: Sequence[str] = ()) -> str:
    """What the columns of `line` are."""
    columns = (
        f"{'case':14} {'size':12} {'mode':9} {'primal':>8} {'forward':>7} {'gradient':>8} "
        f"{'median':>6} {'goal':>5} "
        f"{'memory':>8} {'compile':>7} {'deriv.':>6} {'cached':>7} {'/ njit':>6}"
    )
    return columns + "".join(f" {name:>9}" for name in others)


def line(row: Row, goal: float | None, others: Sequence[str] = ()) -> str:
    """One row: times as ratios to the primal, a rival's as `_of` says; modes but `forward` stand
    in the column of the gradient.
    """
    cached, is_forward = row["cached_first_call_s"], row["mode"] == "forward"
    ratio = f"{row['ratio']:.2f}"
    text = (
        f"{row['case']:14} {row['size']:12} {row['mode']:9} {duration(row['primal_s']):>8} "
        f"{ratio if is_forward else '':>7} {'' if is_forward else ratio:>8} "
        f"{row['ratio_of_medians']:6.2f} {goal or '':>5} "
        f"{size(row['extra_bytes']):>8} {row['compile_primal_s']:5.2f} s "
        f"{row['compile_derivative_s']:4.1f} s {duration(cached):>7} "
        f"{cached / row['cached_primal_first_call_s']:6.1f}"
    )
    return text + "".join(f" {_of(row, name):>9}" for name in others)


def summary(rows: Sequence[Row]) -> str:
    """How long derivatives take to compile and to be loaded, as ratios to their primals."""
    return "\n".join(
        _means(title, [(row[a] / row[b], row) for row in rows])
        for title, a, b in (
            ("compile", "compile_derivative_s", "compile_primal_s"),
            ("cached ", "cached_first_call_s", "cached_primal_first_call_s"),
        )
    )


def _means(title: str, found: Sequence[tuple[float, Row]]) -> str:
    ratios = [ratio for ratio, _ in found]
    largest, row = max(found, key=lambda item: item[0])
    return (
        f"{title} derivative / primal: geometric mean {geometric_mean(ratios):.2f}, "
        f"largest {largest:.1f} ({row['case']} {row['mode']})"
    )


def _of(row: Row, name: str) -> str:
    """A rival's ratio to its own primal, and how many times our derivative it takes."""
    theirs = row["rivals"].get(name)
    if theirs is None:
        return ""
    ratio = theirs["derivative_s"] / theirs["primal_s"]
    return f"{ratio:.1f}({theirs['derivative_s'] / row['derivative_s']:.1f})"


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{1e9 * seconds:.3g} ns"


def size(count: int | None) -> str:
    """Bytes in a unit that suits them."""
    if count is None:
        return "?"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return str(count)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Ratios as bars, and the rivals' as marks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    labels = [f"{row['case']} {row['size']} {row['mode']}" for row in rows]
    at = range(len(rows))
    figure, axes = plt.subplots(figsize=(9, 1 + 0.28 * len(rows)), layout="constrained")
    axes.barh(at, [row["ratio"] for row in rows], color="#4477aa", label="numbaflux")
    for name, mark in zip(sorted({n for row in rows for n in row["rivals"]}), "osd^v"):
        known = [(i, row["rivals"][name]) for i, row in enumerate(rows) if name in row["rivals"]]
        ratios = [theirs["derivative_s"] / theirs["primal_s"] for _, theirs in known]
        axes.plot(ratios, [i for i, _ in known], mark, label=name)
    axes.set_yticks(at, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("time of the derivative over time of the primal, each tool's own")
    axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def markdown(rows: Sequence[Row], goals: Sequence[float | None]) -> str:
    """The rows as the README has them, what misses its goal in bold."""
    others = sorted({name for row in rows for name in row.get("rivals", {})})
    head = ["case", "size", "mode", "`f`", "ratio", "goal", "memory", *others]
    lines = ["| " + " | ".join(head) + " |", "| --- | --- | --- | ---: | ---: | ---: | ---: |"]
    lines[1] += " ---: |" * len(others)
    for row, goal in zip(rows, goals, strict=True):
        ratio = f"{row['ratio']:.2f}"
        cells = [
            row["case"],
            row["size"],
            row["mode"],
            duration(row["primal_s"]),
            f"**{ratio}**" if goal and row["ratio"] > goal else ratio,
            str(goal or ""),
            size(row["extra_bytes"]),
            *(_own(row, name) for name in others),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _own(row: Row, name: str) -> str:
    """A rival's derivative over its own primal."""
    theirs = row.get("rivals", {}).get(name)
    return f"{theirs['derivative_s'] / theirs['primal_s']:.1f}" if theirs else ""
