"""PyTorch: `torch.compile` of the same functions."""

import torch

from benchmarks.rivals.torch_rival import FUNCTIONS, reverse

RIVALS = {(name, "gradient"): reverse(name, torch.compile) for name in FUNCTIONS}
