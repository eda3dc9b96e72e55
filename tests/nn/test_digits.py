"""`python -m numbaflux train-digits`."""

import re
import subprocess
import sys

import numpy as np
import pytest

from numbaflux import nn
from numbaflux.__main__ import main
from numbaflux.demo import digits

AGAIN = """
import sys
import numpy as np
from numbaflux import nn
from numbaflux.demo import digits
recipe = digits.CONV_NET if sys.argv[3] == "conv" else digits.DENSE_NET
p = nn.load(sys.argv[1], recipe.net).p
rng = np.random.default_rng(0)
np.save(sys.argv[2], digits.predict(p, digits.digits(rng).test_x, recipe))
"""


def test_train_digits(capsys, tmp_path):
    weights, plot, again = tmp_path / "d.safetensors", tmp_path / "d.png", tmp_path / "again.npy"
    assert main(["train-digits", "--weights", str(weights), "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert float(re.search(r"test accuracy ([\d.]+)%", printed)[1]) >= 97.0
    assert "epoch 80" in printed
    assert plot.stat().st_size > 10_000
    subprocess.run([sys.executable, "-c", AGAIN, weights, again, "dense"], check=True)
    saved = nn.load(weights, digits.NET)
    data = digits.digits(np.random.default_rng(0))
    predicted = digits.predict(saved.p, data.test_x)
    np.testing.assert_array_equal(np.load(again), predicted)
    assert saved.step == 80 * 45 and saved.state.shape == (2, digits.NET.size)
    table = digits.confusion(predicted, data.test_y)
    assert table.sum() == 360 and np.trace(table) >= 0.97 * 360
    with pytest.raises(ValueError, match=r"l1.W is \(64, 32\)"):
        nn.load(weights, nn.layout("Wider", l1=nn.Dense(64, 64), l2=nn.Dense(64, 10)))


def test_train_digits_by_convolutions(capsys, tmp_path):
    weights, plot, again = tmp_path / "d.safetensors", tmp_path / "d.png", tmp_path / "again.npy"
    args = ["train-digits", "--conv", "--weights", str(weights), "--plot", str(plot)]
    assert main(args) == 0
    assert float(re.search(r"test accuracy ([\d.]+)%", capsys.readouterr().out)[1]) >= 98.0
    subprocess.run([sys.executable, "-c", AGAIN, weights, again, "conv"], check=True)
    data = digits.digits(np.random.default_rng(0))
    p = nn.load(weights, digits.CONV).p
    predicted = digits.predict(p, data.test_x, digits.CONV_NET)
    np.testing.assert_array_equal(np.load(again), predicted)
    assert np.mean(predicted == data.test_y) >= 0.98


def test_shifted_images_are_the_images_moved_by_a_pixel():
    image = np.arange(64.0).reshape(8, 8)
    same, down, up, right, left = shifted = digits.shifted(image.reshape(1, 64)).reshape(5, 8, 8)
    assert shifted.shape == (5, 8, 8)
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(down[1:], image[:-1])
    np.testing.assert_array_equal(up[:-1], image[1:])
    np.testing.assert_array_equal(right[:, 1:], image[:, :-1])
    np.testing.assert_array_equal(left[:, :-1], image[:, 1:])
    assert down[0].sum() == up[-1].sum() == right[:, 0].sum() == left[:, -1].sum() == 0.0


def test_the_confusion_matrix_counts():
    table = digits.confusion(np.array([3, 3, 8]), np.array([3, 8, 8]))
    assert (table[3, 3], table[8, 3], table[8, 8], table.sum()) == (1, 1, 1, 3)
