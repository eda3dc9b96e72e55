"""Optimisers: compiled functions on flat vectors, in place, callable from compiled code."""

from numbaflux.optim.rules import adam, adamw, lion, rmsprop, sgd
from numbaflux.optim.schedules import constant, cosine, exponential, onecycle, warmup
from numbaflux.optim.vectors import accumulate, clip, decay, norm

__all__ = [
    "accumulate",
    "adam",
    "adamw",
    "clip",
    "constant",
    "cosine",
    "decay",
    "exponential",
    "lion",
    "norm",
    "onecycle",
    "rmsprop",
    "sgd",
    "warmup",
]
