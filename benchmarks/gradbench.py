"""numbaflux as a tool of GradBench: `python -m benchmarks.gradbench` speaks its protocol.

Messages come as lines of JSON on standard input, each is answered by a line on standard output:
`start`, `define` (a module), `evaluate` (a function of it at an input) and `analysis`. A function
is compiled before it is timed; how long that took is a timing of its own, called "compile".
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from numba import typeof

from benchmarks.evaluations import MODULES, Evaluation

Message = Mapping[str, Any]


def respond(message: Message) -> dict[str, Any]:
    """The answer to a message."""
    answer: dict[str, Any] = {"id": message["id"]}
    match message["kind"]:
        case "start":
            answer["tool"] = "numbaflux"
        case "define":
            answer |= define(message["module"])
        case "evaluate":
            answer |= evaluate(message)
    return answer


def define(module: str) -> dict[str, Any]:
    """Whether there is such a module."""
    if module in MODULES:
        return {"success": True}
    return {"success": False, "error": f"there is no module {module!r} here"}


def evaluate(message: Message) -> dict[str, Any]:
    """A function's output at an input, and how long each run took; or why there is none."""
    try:
        evaluation = MODULES[message["module"]][message["function"]]
    except KeyError:
        name = f"{message['module']}.{message['function']}"
        return {"success": False, "error": f"there is no function {name} here"}
    try:
        return run(evaluation, message["input"])
    except Exception as error:  # whatever it is, the session goes on
        return {"success": False, "error": "".join(traceback.format_exception(error))}


def run(evaluation: Evaluation, given: Any) -> dict[str, Any]:
    """Compile, then run at least `min_runs` times and for `min_seconds`; once without them."""
    least = given if isinstance(given, Mapping) else {}
    runs, nanoseconds = least.get("min_runs", 1), 1e9 * least.get("min_seconds", 0)
    function, args = evaluation.prepare(given)
    begin = time.perf_counter_ns()
    function.compile(tuple(map(typeof, args)))
    timings = [timing("compile", begin)]
    result, elapsed = None, 0
    while len(timings) <= max(1, runs) or elapsed < nanoseconds:
        begin = time.perf_counter_ns()
        result = function(*args)
        timings.append(timing("evaluate", begin))
        elapsed += timings[-1]["nanoseconds"]
    return {"success": True, "output": evaluation.report(result), "timings": timings}


def timing(name: str, begin: int) -> dict[str, Any]:
    return {"name": name, "nanoseconds": time.perf_counter_ns() - begin}


def main() -> None:
    """Answer lines until there are no more."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradbench", description=__doc__)
    parser.add_argument("--multithreaded", action="store_true", help="has no effect: all is serial")
    parser.parse_args()
    for line in sys.stdin:
        print(json.dumps(respond(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
