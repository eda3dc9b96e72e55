"""The partials of every primitive: a line each.

At a kink the branch that the primal takes decides: `min`, `max`, `select` pass the cotangent to
the argument they return (at a tie the first), `abs` and `sign` have derivative 0 at 0.
Formulas: Abramowitz & Stegun, chapters 4, 6, 7; DLMF 5.15 for the gamma family.
"""

import math
from collections.abc import Callable

from numbaflux.ir.ops import PLAIN
from numbaflux.rules.table import RULES, Sym, call, cast, rule, where, zero

Call = Callable[..., Sym]

cos, sin, cosh, sinh = call("cos"), call("sin"), call("cosh"), call("sinh")
exp, log, sqrt = call("exp"), call("log"), call("sqrt")
vec_cos, vec_sin, vec_cosh, vec_sinh = (call(f"vec_{n}") for n in ("cos", "sin", "cosh", "sinh"))
vec_exp, vec_log, vec_pow = call("vec_exp"), call("vec_log"), call("vec_pow")
pow_, ipow, sign = call("pow"), call("ipow"), call("sign")
floor, trunc, copysign = call("floor"), call("trunc"), call("copysign")
digamma, polygamma, sigmoid = call("digamma"), call("polygamma"), call("sigmoid")

# Arithmetic.
rule("add", lambda x, y, r: 1.0, lambda x, y, r: 1.0)
rule("sub", lambda x, y, r: 1.0, lambda x, y, r: -1.0)
rule("mul", lambda x, y, r: y, lambda x, y, r: x)
rule("gmul", lambda x, y, r: y, lambda x, y, r: x, guard=True)
rule("div", lambda x, y, r: 1.0 / y, lambda x, y, r: -(r * (1.0 / y)), guard=True)
rule("neg", lambda x, r: -1.0)
rule("abs", lambda x, r: sign(x))
rule("mod", lambda x, y, r: 1.0, lambda x, y, r: -floor(x / y), guard=True)
rule("fmod", lambda x, y, r: 1.0, lambda x, y, r: -trunc(x / y), guard=True)
rule("copysign", lambda x, y, r: copysign(1.0, x) * copysign(1.0, y))
rule("cast", lambda x, r: 1.0)
rule("stop_gradient")

# Choices.
rule("min", lambda x, y, r: ~(y < x), lambda x, y, r: y < x)
rule("max", lambda x, y, r: ~(y > x), lambda x, y, r: y > x)
rule("minimum", lambda x, y, r: ~(y < x), lambda x, y, r: y < x)
rule("maximum", lambda x, y, r: ~(y > x), lambda x, y, r: y > x)
rule("fmin", lambda x, y, r: r.equals(x), lambda x, y, r: ~r.equals(x))
rule("fmax", lambda x, y, r: r.equals(x), lambda x, y, r: ~r.equals(x))
rule("select", None, lambda c, x, y, r: c, lambda c, x, y, r: ~c)


def _power(name: str, power: Call, log: Call) -> None:
    """At x = 0 the partial in y is that of 0 ** y for y > 0: zero."""
    rule(
        name,
        lambda x, y, r: where(y.equals(0.0), 0.0, y * power(x, y - 1.0), r),
        lambda x, y, r: where(x.equals(0.0), 0.0, r * log(x), r),
        guard=True,
    )


# Powers.
_power("pow", pow_, log)
rule("ipow", lambda x, n, r: where(n.equals(0), 0.0, cast(n, x) * ipow(x, n - 1), x), guard=True)
rule("sqrt", lambda x, r: 0.5 / r, guard=True)
rule("cbrt", lambda x, r: 1.0 / (3.0 * r * r), guard=True)
rule("hypot", lambda x, y, r: x / r, lambda x, y, r: y / r, guard=True)

# Exponentials and logarithms.
rule("exp", lambda x, r: r, guard=True)
rule("exp2", lambda x, r: math.log(2.0) * r, guard=True)
rule("expm1", lambda x, r: r + 1.0, guard=True)
rule("log", lambda x, r: 1.0 / x, guard=True)
rule("log2", lambda x, r: 1.0 / (math.log(2.0) * x), guard=True)
rule("log10", lambda x, r: 1.0 / (math.log(10.0) * x), guard=True)
rule("log1p", lambda x, r: 1.0 / (1.0 + x), guard=True)

# Trigonometric and hyperbolic.
rule("sin", lambda x, r: cos(x))
rule("cos", lambda x, r: -sin(x))
rule("tan", lambda x, r: 1.0 + r * r, guard=True)
rule("asin", lambda x, r: 1.0 / sqrt((1.0 - x) * (1.0 + x)), guard=True)
rule("acos", lambda x, r: -1.0 / sqrt((1.0 - x) * (1.0 + x)), guard=True)
rule("atan", lambda x, r: 1.0 / (1.0 + x * x))
rule(
    "atan2",
    lambda y, x, r: x / (x * x + y * y),
    lambda y, x, r: -y / (x * x + y * y),
    guard=True,
)
rule("sinh", lambda x, r: cosh(x), guard=True)
rule("cosh", lambda x, r: sinh(x), guard=True)
rule("tanh", lambda x, r: 1.0 - r * r)
rule("asinh", lambda x, r: 1.0 / sqrt(x * x + 1.0))
rule("acosh", lambda x, r: 1.0 / sqrt((x - 1.0) * (x + 1.0)), guard=True)
rule("atanh", lambda x, r: 1.0 / ((1.0 - x) * (1.0 + x)), guard=True)

# Special functions.
rule("erf", lambda x, r: (2.0 / math.sqrt(math.pi)) * exp(-(x * x)))
rule("erfc", lambda x, r: (-2.0 / math.sqrt(math.pi)) * exp(-(x * x)))
rule("gamma", lambda x, r: r * digamma(x), guard=True)
rule("lgamma", lambda x, r: digamma(x), guard=True)
rule("digamma", lambda x, r: polygamma(1.0, x), guard=True)
rule("polygamma", None, lambda n, x, r: polygamma(n + 1.0, x), guard=True)

# Over vectors: the same partials, by functions over vectors where they are others.
rule("vec_sin", lambda x, r: vec_cos(x))
rule("vec_cos", lambda x, r: -vec_sin(x))
rule("vec_sinh", lambda x, r: vec_cosh(x), guard=True)
rule("vec_cosh", lambda x, r: vec_sinh(x), guard=True)
rule("vec_erf", lambda x, r: (2.0 / math.sqrt(math.pi)) * vec_exp(-(x * x)))
_power("vec_pow", vec_pow, vec_log)
for _twin, _op in PLAIN.items():
    RULES.setdefault(_twin, RULES[_op])

# Of neural networks.
rule("sigmoid", lambda x, r, other: r * other, beside=lambda x: sigmoid(-x))
rule("softplus", lambda x, r, slope: slope, beside=sigmoid)

# Piecewise constant, or not a number with a derivative.
zero("sign", "floor", "ceil", "trunc", "rint", "floordiv")
zero("eq", "ne", "lt", "le", "gt", "ge", "not", "and", "or", "isnan", "isinf", "isfinite")
zero("bitand", "bitor", "bitxor", "lshift", "rshift", "invert", "popc", "clz", "ffs", "brev")
