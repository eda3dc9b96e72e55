"""The estimators, by scikit-learn's own tests and on the digits."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, make_regression
from sklearn.utils.estimator_checks import parametrize_with_checks

from numbaflux import nn


@pytest.mark.filterwarnings("default")
@parametrize_with_checks([nn.Classifier(random_state=0), nn.Regressor(random_state=0)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_a_classifier_of_strings():
    x, digit = load_digits(return_X_y=True)
    x, names = x / 16.0, np.array([f"digit {d}" for d in digit])
    model = nn.Classifier(epochs=20, random_state=1).fit(x[::2], names[::2])
    assert model.score(x[1::2], names[1::2]) > 0.94
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1.0)
    assert model.net_.unpack(model.p_).l2.W.shape == (32, 10)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))


def test_no_hidden_layer_is_linear_regression():
    x, y, slopes = make_regression(200, 3, n_informative=3, coef=True, random_state=0)
    scale = y.std()
    model = nn.Regressor(hidden=(), epochs=400, decay=0.0, lr=0.02, random_state=0)
    clone(model).fit(x, y / scale)
    model.fit(x, y / scale)
    np.testing.assert_allclose(model.net_.unpack(model.p_).l1.W[:, 0] * scale, slopes, rtol=1e-3)


def test_names_that_are_none():
    with pytest.raises(AttributeError, match="no attribute 'Cluster'"):
        nn.Cluster  # noqa: B018
