"""GradBench's `hello`: the square of a number."""

from benchmarks.case import Case, forward, gradient
from benchmarks.check import exactly


def square(x):
    return x * x


CASES = (
    Case(
        "hello",
        square,
        lambda x: (x,),
        {"1": (1.0,), "small": (3.0,)},
        {
            "forward": forward(square, (0,)),
            "gradient": gradient(0, exactly(lambda x: 2.0 * x)),
        },
    ),
)
