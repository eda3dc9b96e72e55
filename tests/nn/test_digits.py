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
p = nn.load(sys.argv[1], digits.NET).p
rng = np.random.default_rng(0)
np.save(sys.argv[2], digits.predict(p, digits.digits(rng).test_x))
"""


def test_train_digits(capsys, tmp_path):
    weights, plot, again = tmp_path / "d.safetensors", tmp_path / "d.png", tmp_path / "again.npy"
    assert main(["train-digits", "--weights", str(weights), "--plot", str(plot)]) == 0
    printed = capsys.readouterr().out
    assert float(re.search(r"test accuracy ([\d.]+)%", printed)[1]) >= 97.0
    assert "epoch 80" in printed
    assert plot.stat().st_size > 10_000
    subprocess.run([sys.executable, "-c", AGAIN, weights, again], check=True)
    saved = nn.load(weights, digits.NET)
    data = digits.digits(np.random.default_rng(0))
    predicted = digits.predict(saved.p, data.test_x)
    np.testing.assert_array_equal(np.load(again), predicted)
    assert saved.step == 80 * 45 and saved.state.shape == (2, digits.NET.size)
    table = digits.confusion(predicted, data.test_y)
    assert table.sum() == 360 and np.trace(table) >= 0.97 * 360
    with pytest.raises(ValueError, match=r"l1.W is \(64, 32\)"):
        nn.load(weights, nn.layout("Wider", l1=nn.Dense(64, 64), l2=nn.Dense(64, 10)))


def test_the_confusion_matrix_counts():
    table = digits.confusion(np.array([3, 3, 8]), np.array([3, 8, 8]))
    assert (table[3, 3], table[8, 3], table[8, 8], table.sum()) == (1, 1, 1, 3)
