"""GradBench's `lstm`, which is ADBench's: the loss of a small network that predicts text."""

from benchmarks.adbench import lstm
from benchmarks.case import Case, forward, gradient
from benchmarks.check import differences

CASES = (
    Case(
        "lstm",
        lstm.objective,
        lstm.inputs,
        {name: (name,) for name in ("l2_c1024", "l4_c4096", "small")},
        {
            "forward": forward(lstm.objective, (0, 1)),
            "gradient": gradient((0, 1), differences(lstm.objective, (0, 1)), goal=3.5),
        },
    ),
)
