"""Estimators with scikit-learn's interface: dense nets that learn from a table of numbers.

How many columns and classes there are is not known to the compiler here, unlike with a layout:
`fit` on another table need not compile again.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from numbaflux import FAST, optim
from numbaflux.nn import activations
from numbaflux.nn.init import kaiming
from numbaflux.nn.layers import Dense, dense
from numbaflux.nn.losses import logitcrossentropy, mse, softmax
from numbaflux.nn.params import layout
from numbaflux.nn.train import fit

Parts = namedtuple("Parts", "W b")


class _Estimator(BaseEstimator):
    """What both have in common."""

    def __init__(
        self,
        hidden: tuple[int, ...] = (32,),
        activation: str = "relu",
        *,
        epochs: int = 200,
        batch: int = 32,
        lr: float = 5e-3,
        decay: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.epochs = epochs
        self.batch = batch
        self.lr = lr
        self.decay = decay
        self.random_state = random_state

    def _fit(self, loss: Any, x: Any, y: np.ndarray, outputs: int) -> None:
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        widths = [x.shape[1], *self.hidden, outputs]
        layers = {f"l{k}": Dense(*pair) for k, pair in enumerate(pairwise(widths), 1)}
        self.net_ = layout(type(self).__name__, **layers)
        self.p_ = self.net_.init(rng, kaiming)
        update, size = _adamw(self.lr, decay=self.decay), min(self.batch, len(x))
        self.history_ = fit(
            loss, self.p_, x, y, epochs=self.epochs, size=size, update=update, rng=rng
        )

    def _outputs(self, x: Any) -> np.ndarray:
        check_is_fitted(self)
        x = validate_data(self, x, dtype=np.float64, order="C", reset=False)
        return _model(tuple(self.hidden), self.activation)(self.p_, x)


class Classifier(ClassifierMixin, _Estimator):
    """A dense net that tells classes apart, trained by AdamW on the cross entropy.

    hidden: widths of the hidden layers; activation: the name of one of `nn`'s; epochs, batch, lr,
    decay: passes over the rows, rows a step, rate, weight decay. Scale the columns before. After
    `fit`: `classes_`, `p_` and its layout `net_`, `history_` as of `nn.fit`.

    >>> from sklearn.datasets import load_iris
    >>> from numbaflux import nn
    >>> x, y = load_iris(return_X_y=True)
    >>> bool(nn.Classifier(random_state=0).fit(x, y).score(x, y) > 0.95)
    True
    """

    def fit(self, X: Any, y: Any) -> Classifier:
        """Learn from rows X (n, columns) and their classes y (n,), of any kind."""
        x, y = validate_data(self, X, y, dtype=np.float64, order="C")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        loss = _classes(tuple(self.hidden), self.activation)
        self._fit(loss, x, labels.astype(np.int64), len(self.classes_))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class (n, classes), in the order of `classes_`."""
        return softmax(self._outputs(X))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        best = self._outputs(X).argmax(axis=1)
        return self.classes_[best]


class Regressor(RegressorMixin, _Estimator):
    """A dense net that predicts a number, trained by AdamW on the mean squared error.

    Arguments and attributes are those of `Classifier`. Scale the columns and the target before.

    >>> import numpy as np
    >>> from numbaflux import nn
    >>> x = np.linspace(-3.0, 3.0, 200).reshape(-1, 1)
    >>> model = nn.Regressor(activation="tanh", random_state=0).fit(x, np.sin(x[:, 0]))
    >>> bool(model.score(x, np.sin(x[:, 0])) > 0.98)
    True
    """

    def fit(self, X: Any, y: Any) -> Regressor:
        """Learn from rows X (n, columns) and numbers y (n,)."""
        x, y = validate_data(self, X, y, dtype=np.float64, order="C", y_numeric=True)
        loss = _numbers(tuple(self.hidden), self.activation)
        self._fit(loss, x, y.astype(np.float64), 1)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """A number for each row."""
        return self._outputs(X)[:, 0]


_adamw = cache(optim.adamw)


@cache
def _model(hidden: tuple[int, ...], activation: str) -> Any:
    """model(p, x): the outputs of a net with these hidden layers, of parameters one by one."""
    if not hidden:
        return _last
    width, rest = hidden[0], _model(hidden[1:], activation)
    function = getattr(activations, activation)

    @njit(**FAST)
    def model(p, x):
        here = (x.shape[1] + 1) * width
        return rest(p[here:], activations.activate(function, _dense(p[:here], width, x)))

    return model


@njit(**FAST)
def _last(p, x):
    return _dense(p, p.size // (x.shape[1] + 1), x)


@njit(**FAST)
def _dense(p, width, x):
    cut = x.shape[1] * width
    return dense(Parts(p[:cut].reshape((x.shape[1], width)), p[cut:]), x)


@cache
def _classes(hidden: tuple[int, ...], activation: str) -> Any:
    model = _model(hidden, activation)
    return njit(**FAST)(lambda p, x, y: logitcrossentropy(model(p, x), y))


@cache
def _numbers(hidden: tuple[int, ...], activation: str) -> Any:
    model = _model(hidden, activation)
    return njit(**FAST)(lambda p, x, y: mse(model(p, x), y))
