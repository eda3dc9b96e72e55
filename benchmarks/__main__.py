"""`python -m benchmarks`: derivatives in multiples of their primals, each case on its own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import cases, report, rivals, runner
from benchmarks.case import Case

COLUMNS = [
    "case",
    "size",
    "mode",
    "primal_s",
    "derivative_s",
    "ratio",
    "compile_primal_s",
    "compile_derivative_s",
    "cached_first_call_s",
    "extra_bytes",
]


def chosen(names: list[str], small: bool) -> Iterator[tuple[Case, str, str]]:
    """(case, size, mode) for NAME, NAME:SIZE or NAME:SIZE:MODE; all of them without names."""
    for name in names or [case.name for case in cases.everything()]:
        case_name, *rest = name.split(":")
        case = cases.find(case_name)
        sizes = ["small"] if small else [size for size in case.sizes if size != "small"]
        for size in rest[:1] or sizes:
            for mode in rest[1:2] or case.modes:
                yield case, size, mode


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is kept in a file."""
    kept = {name: row[name] for name in COLUMNS}
    return {**kept, "rivals": row["rivals"]} if row["rivals"] else kept


def main() -> int:
    """The command line; 1 if any derivative was wrong or could not be made."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="NAME, NAME:SIZE, NAME:SIZE:MODE")
    parser.add_argument("--rivals", action="store_true", help="other tools too, where installed")
    parser.add_argument("--small", action="store_true", help="every case at its smallest size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="print a file that --json kept as a table"
    )
    given = parser.parse_args()
    if given.markdown:
        kept = json.loads(given.markdown.read_text())
        goals = [cases.find(row["case"]).modes[row["mode"]].goal for row in kept]
        print(report.markdown(kept, goals))
        return 0
    try:
        work = list(chosen(given.cases, given.small))
    except KeyError as error:
        parser.error(error.args[0])
    others = rivals.installed() if given.rivals else ()
    rows = []
    print(report.heading(others))
    for case, size, mode in work:
        try:
            row = runner.measure(case.name, size, mode, others)
        except runner.Failed as error:
            print(f"{case.name:14} {size:12} {mode:9} FAILED: {error}", flush=True)
            continue
        rows.append(row)
        print(report.line(row, case.modes[mode].goal, others), flush=True)
    if rows:
        print(report.summary(rows))
    if given.json:
        given.json.write_text(json.dumps([plain(row) for row in rows], indent=1) + "\n")
    if given.plot:
        report.plot(rows, given.plot)
    return int(len(rows) < len(work))


if __name__ == "__main__":
    sys.exit(main())
