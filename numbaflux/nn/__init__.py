"""Layers as plain functions over one flat vector of parameters: compiled, differentiable, small.

>>> import numpy as np
>>> import numba
>>> import numbaflux as nf
>>> from numbaflux import nn, optim
>>> net = nn.layout("Net", l1=nn.Dense(1, 16), l2=nn.Dense(16, 1))
>>> @numba.njit(**nn.FAST)
... def loss(p, x, y):
...     P = net.unpack(p)
...     h = nn.activate(nn.tanh, nn.dense(P.l1, x))
...     return nn.mse(nn.dense(P.l2, h), y)
>>> step = nf.value_and_grad(loss)
>>> update = optim.adam(lr=0.01)
>>> @numba.njit(**nn.FAST)
... def train(p, state, x, y, steps):
...     value = 0.0
...     for t in range(steps):
...         value, g = step(p, x, y)
...         update(p, g, state, t)
...     return value
>>> x = np.linspace(-3.0, 3.0, 100).reshape(-1, 1)
>>> p = net.init(0)
>>> bool(train(p, update.state(p), x, np.sin(x), 1000) < 1e-3)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numbaflux import FAST
from numbaflux.nn.activations import (
    activate,
    elu,
    gelu,
    identity,
    leakyrelu,
    mish,
    relu,
    selu,
    sigmoid,
    softplus,
    swish,
    tanh,
)
from numbaflux.nn.chain import Chain
from numbaflux.nn.conv import Conv, ConvTranspose, conv, convtranspose
from numbaflux.nn.dropout import Embedding, dropout, embedding
from numbaflux.nn.files import Saved, load, save
from numbaflux.nn.init import glorot, kaiming, orthogonal
from numbaflux.nn.layers import Dense, dense
from numbaflux.nn.losses import (
    binarycrossentropy,
    crossentropy,
    huber,
    kldivergence,
    logitbinarycrossentropy,
    logitcrossentropy,
    logsumexp,
    mae,
    mse,
    poisson,
    softmax,
)
from numbaflux.nn.norm import BatchNorm, LayerNorm, batchnorm, batchnorm_state, layernorm
from numbaflux.nn.params import Net, Param, layout, param
from numbaflux.nn.pool import flatten, globalpool, maxpool, meanpool
from numbaflux.nn.recurrent import GRU, LSTM, RNN, gru, lstm, rnn
from numbaflux.nn.train import History, batches, fit

if TYPE_CHECKING:
    from numbaflux.nn.estimator import Classifier as Classifier
    from numbaflux.nn.estimator import Regressor as Regressor

__all__ = [
    "FAST",
    "GRU",
    "LSTM",
    "RNN",
    "BatchNorm",
    "Chain",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Embedding",
    "History",
    "LayerNorm",
    "Net",
    "Param",
    "Saved",
    "activate",
    "batches",
    "batchnorm",
    "batchnorm_state",
    "binarycrossentropy",
    "conv",
    "convtranspose",
    "crossentropy",
    "dense",
    "dropout",
    "elu",
    "embedding",
    "fit",
    "flatten",
    "gelu",
    "globalpool",
    "glorot",
    "gru",
    "huber",
    "identity",
    "kaiming",
    "kldivergence",
    "layernorm",
    "layout",
    "leakyrelu",
    "load",
    "logitbinarycrossentropy",
    "logitcrossentropy",
    "logsumexp",
    "lstm",
    "mae",
    "maxpool",
    "meanpool",
    "mish",
    "mse",
    "orthogonal",
    "param",
    "poisson",
    "relu",
    "rnn",
    "save",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "swish",
    "tanh",
]


def __getattr__(name: str) -> Any:
    """`Classifier` and `Regressor` need scikit-learn, which is imported when they are."""
    if name not in ("Classifier", "Regressor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from numbaflux.nn import estimator

    return getattr(estimator, name)
