"""The numbers of the elementary functions, for double and for single precision.

The polynomials are our own Remez fits (60 digits), low order first; hexadecimal, since every bit
counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


def _floats(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A floating point type: its NumPy type, the integer of its width, its format, its numbers."""

    float: Any
    int: Any
    digits: int  # stored bits of the significand
    bias: int  # of the exponent
    polynomials: Mapping[str, tuple[float, ...]]
    numbers: Mapping[str, float]

    def constants(self, names: str) -> tuple[Any, ...]:
        """The constants of these names, and numbers, of this type."""
        return tuple(
            self.float(self.numbers[n] if n in self.numbers else float(n)) for n in names.split()
        )


_POLYNOMIALS64 = {
    # (e^r - 1 - r) / r^2 in r, |r| <= ln 2 / 2
    "exp": _floats(
        "0x1.0000000000006p-1 0x1.5555555555505p-3 0x1.55555555518c9p-5 0x1.11111111268e8p-7 "
        "0x1.6c16c1812bbf5p-10 0x1.a01a012afdacdp-13 0x1.a019a11dcf93p-16 0x1.71df2d4f0991bp-19 "
        "0x1.28a7a06662d07p-22 0x1.ad676d2046f56p-26"
    ),
    # (e^r - 1 - r - r^2 / 2) / r^3 in r, |r| <= ln 2 / 2
    "expm1": _floats(
        "0x1.5555555555558p-3 0x1.5555555555549p-5 0x1.111111110f9d7p-7 0x1.6c16c16c1c813p-10 "
        "0x1.a01a01aec7ae3p-13 0x1.a01a0184024edp-16 0x1.71ddfae44104cp-19 0x1.27e52a00c1211p-22 "
        "0x1.af5a994acf1cap-26 0x1.1ef5c584e00b1p-29"
    ),
    # (2 atanh(s) / s - 2) / z in z = s^2, s = f / (2 + f), sqrt(1/2) <= 1 + f <= sqrt(2)
    "log": _floats(
        "0x1.5555555555593p-1 0x1.999999997f9f8p-2 0x1.249249422a3e6p-2 0x1.c71c51d7d49ep-3 "
        "0x1.746649ae8b54fp-3 0x1.39a095a161347p-3 0x1.2f117eb9246b3p-3"
    ),
    # the same for -1/4 <= f <= 1/2
    "log50": _floats(
        "0x1.555555555554fp-1 0x1.999999999c187p-2 0x1.24924921e335bp-2 0x1.c71c7490d395p-3 "
        "0x1.745c4a97a2b25p-3 0x1.3b35c9b5ee3a4p-3 0x1.0dcafd4f586c3p-3 0x1.1b85a7005685dp-3"
    ),
    # (sin(r) / r - 1) / z in z = r^2, |r| <= pi / 4
    "sin": _floats(
        "-0x1.5555555555549p-3 0x1.111111110f89cp-7 -0x1.a01a019c14197p-13 0x1.71de3578ec422p-19 "
        "-0x1.ae5e66a3b5795p-26 0x1.5d9301185c20ep-33"
    ),
    # (cos(r) - 1 + z / 2) / z^2 in z = r^2, |r| <= pi / 4
    "cos": _floats(
        "0x1.555555555554cp-5 -0x1.6c16c16c15217p-10 0x1.a01a019cbe151p-16 -0x1.27e4f81176ce3p-22 "
        "0x1.1ee9f04d76b37p-29 -0x1.8fb0967fd4bd5p-37"
    ),
    # ((2 atanh(s) / s - 2) / z - 2/3) / z in z = s^2, s as in log
    "powlog": _floats(
        "0x1.9999999999996p-2 0x1.2492492492f53p-2 0x1.c71c71c5961edp-3 0x1.745d18299bd1cp-3 "
        "0x1.3b1364b3c5bfap-3 0x1.112072c50ac78p-3 0x1.de3cd338016cap-4 0x1.eacb2c61aee21p-4"
    ),
    # erf(x) / x - 1 in x^2 - 1/2, |x| <= 1
    "erfs": _floats(
        "-0x1.1ae14dc34815ap-5 -0x1.1fd16292151fdp-2 0x1.454368017b042p-4 -0x1.2b902b7b2f28dp-6 "
        "0x1.c82aa249df2aap-9 -0x1.263991b803137p-11 0x1.486638bcd6786p-14 -0x1.429e93e6141edp-17 "
        "0x1.1ad5ed88082e3p-20 -0x1.bf8d2d1c7672p-24 0x1.428f5cae3251fp-27 -0x1.acba4163bb988p-31 "
        "0x1.0579a766a3ac1p-34"
    ),
    # log(erfc(x)) in |x| - 1, 1 <= |x| <= 6
    "erfl": _floats(
        "-0x1.d97fbf27aa2a1p+0 -0x1.51c9b0006c236p+1 -0x1.afabc11a295f4p-1 -0x1.5477f09c036bbp-5 "
        "0x1.48c9d3eb1e9aap-7 -0x1.033f65b01acap-9 0x1.f1b3898042dbap-13 0x1.b8de9cf380f3cp-16 "
        "-0x1.c7a77f74a61a7p-16 0x1.426bd3d902f4fp-17 -0x1.147542184413ep-19 0x1.32d32a0f2c28p-23 "
        "0x1.a2f597ddbfb17p-24 -0x1.beff9f303ae01p-25 0x1.002ca5bc89622p-26 "
        "-0x1.89a0530e85df3p-29 0x1.94e34627aba85p-32 -0x1.faebf0d4e5f97p-36 "
        "0x1.2479faaaa6243p-40"
    ),
    # (atan(t) / t - 1) / z in z - 1/2, z = t^2, |t| <= 1
    "atan": _floats(
        "-0x1.09615e90afcd2p-2 0x1.c5e5c41d92f46p-4 -0x1.c10b0d776d0cdp-5 0x1.dd5caa4ce65c3p-6 "
        "-0x1.08fa5f9218374p-6 0x1.2ee0b60445b73p-7 -0x1.618d9a027e71ap-8 0x1.a3527ed915618p-9 "
        "-0x1.f79028a5fa297p-10 0x1.316aa08181ff2p-10 -0x1.758ed48fd9c98p-11 "
        "0x1.cc009ea8e0797p-12 -0x1.1cc432c33e003p-12 0x1.637bf397ad5d8p-13 "
        "-0x1.c1275015de9aep-14 0x1.12943a3df9ac1p-14 -0x1.35f2054c083e3p-15 "
        "0x1.c91bc164e38d1p-16 -0x1.bcfacf6bc1939p-16 0x1.bbc4fe6cfccabp-17"
    ),
}

_CONSTANTS64 = {
    "LOG2E": float.fromhex("0x1.71547652b82fep+0"),  # log2(e)
    # log(2) in two parts, the first so short that its product with an exponent is exact
    "LN2H": float.fromhex("0x1.62e42fefa38p-1"),
    "LN2L": float.fromhex("0x1.ef35793c7673p-45"),
    "TWO_OVER_PI": float.fromhex("0x1.45f306dc9c883p-1"),  # 2 / pi
    "P1": float.fromhex("0x1.921fb54442d18p+0"),  # pi / 2 in three parts
    "P2": float.fromhex("0x1.1a62633145c07p-54"),
    "P3": float.fromhex("-0x1.f1976b7ed8fbcp-110"),
    "C3H": float.fromhex("0x1.5555555555555p-1"),  # 2/3 in two parts
    "C3L": float.fromhex("0x1.5555555555555p-55"),
    "EXP_MIN": -746.0,  # below, exp is 0; above EXP_MAX infinite; below EXP_DEEP perhaps denormal
    "EXP_MAX": 710.0,
    "EXP_DEEP": -707.0,
    "EXPM1_MIN": -40.0,  # below, expm1 is -1
    "TINY": 2.0**-60,  # below, sin(x), tan(x), expm1(x) are x
    "TANH_MAX": 22.0,  # above, tanh is 1
    "ERF_MAX": 6.0,  # above, erf is 1
    # |x - NEAR| < RADIUS: 1 + x is near enough to 1 for the polynomial of log
    "NEAR": float.fromhex("0x1.ef9db22d0e56p-5"),
    "RADIUS": float.fromhex("0x1.69fbe76c8b439p-2"),
    "SOFT_MAX": 54.0,  # above, softplus(x) is x
    "SINH_MAX": 710.5,  # above, sinh and cosh are infinite
    "HUGE": 2.0**45,  # above, P1 + P2 + P3 is too short to reduce an angle by
}

_POLYNOMIALS32 = {
    # (e^r - 1 - r) / r^2 in r, |r| <= ln 2 / 2
    "exp": _floats("0x1.fffffcp-2 0x1.555498p-3 0x1.5558c8p-5 0x1.123672p-7 0x1.6a322ep-10"),
    # (e^r - 1 - r - r^2 / 2) / r^3 in r, |r| <= ln 2 / 2
    "expm1": _floats("0x1.555554p-3 0x1.5554f4p-5 0x1.1111bep-7 0x1.6d3f58p-10 0x1.9fcc8ap-13"),
    # (2 atanh(s) / s - 2) / z in z = s^2, s = f / (2 + f), sqrt(1/2) <= 1 + f <= sqrt(2)
    "log": _floats("0x1.55557ap-1 0x1.995ed2p-2 0x1.31e15ep-2"),
    # the same for -1/4 <= f <= 1/2
    "log50": _floats("0x1.5555b4p-1 0x1.992a9ap-2 0x1.36ee9p-2"),
    # (sin(r) / r - 1) / z in z = r^2, |r| <= pi / 4
    "sin": _floats("-0x1.555546p-3 0x1.11077cp-7 -0x1.995592p-13"),
    # (cos(r) - 1 + z / 2) / z^2 in z = r^2, |r| <= pi / 4
    "cos": _floats("0x1.55554ap-5 -0x1.6c0c1ap-10 0x1.99e0cep-16"),
    # as log, in double precision
    "powlog": _floats(
        "0x1.555555561eafbp-1 0x1.999996a806126p-2 0x1.24941281f3364p-2 0x1.c62ae05a21ebp-3 "
        "0x1.9118b5f61554cp-3"
    ),
    # (2^r - 1) / r in r, |r| <= 1/2, in double precision
    "exp2": _floats(
        "0x1.62e42ff0e1a08p-1 0x1.ebfbe0778b04bp-3 0x1.c6b08ac05693ap-5 0x1.3b29f39959becp-7 "
        "0x1.5d8a860b5bbacp-10 0x1.445c8771c1848p-13 0x1.fde5f9f872f06p-17"
    ),
    # erf(x) / x - 1 in x^2 - 1/2, |x| <= 1
    "erfs": _floats(
        "-0x1.1ae14ep-5 -0x1.1fd164p-2 0x1.454366p-4 -0x1.2b8df6p-6 0x1.c82b76p-9 -0x1.286f2ep-11 "
        "0x1.496a36p-14"
    ),
    # log(erfc(x)) in |x| - 1, 1 <= |x| <= 4
    "erfl": _floats(
        "-0x1.d97fcp+0 -0x1.51c9bp+1 -0x1.afabb4p-1 -0x1.547facp-5 0x1.4951d2p-7 -0x1.0865b2p-9 "
        "0x1.33e258p-12 -0x1.86fa38p-16 0x1.0dd644p-22"
    ),
    # (atan(t) / t - 1) / z in z - 1/2, z = t^2, |t| <= 1
    "atan": _floats(
        "-0x1.09615ep-2 0x1.c5e5cp-4 -0x1.c10ae6p-5 0x1.dd60ep-6 -0x1.090abp-6 0x1.2e4ffp-7 "
        "-0x1.5d64b4p-8 0x1.af81fp-9 -0x1.2e3d84p-9 0x1.23f91cp-10"
    ),
}

_CONSTANTS32 = {
    "LOG2E": float.fromhex("0x1.715476p+0"),
    "LN2H": float.fromhex("0x1.62e4p-1"),
    "LN2L": float.fromhex("0x1.7f7d1cp-20"),
    "TWO_OVER_PI": float.fromhex("0x1.45f306p-1"),
    "P1": float.fromhex("0x1.921fb6p+0"),
    "P2": float.fromhex("-0x1.777a5cp-25"),
    "P3": float.fromhex("-0x1.ee59dap-50"),
    "C3H": float.fromhex("0x1.555556p-1"),
    "C3L": float.fromhex("0x1.555556p-55"),
    "EXP_MIN": -104.5,
    "EXP_MAX": 89.0,
    "EXP_DEEP": -86.0,
    "EXPM1_MIN": -20.0,
    "TINY": 2.0**-27,
    "TANH_MAX": 10.0,
    "ERF_MAX": 4.0,
    "NEAR": float.fromhex("0x1.ef9db2p-5"),
    "RADIUS": float.fromhex("0x1.69fbe8p-2"),
    "SOFT_MAX": 25.0,
    "SINH_MAX": 89.5,
    "HUGE": 2.0**17,
}


F64 = Kind(np.float64, np.int64, 52, 1023, _POLYNOMIALS64, _CONSTANTS64)
F32 = Kind(np.float32, np.int32, 23, 127, _POLYNOMIALS32, _CONSTANTS32)
