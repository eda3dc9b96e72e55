"""What pytest does not look into for examples: modules that need what is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("torch") else ["numbaflux/torch.py"]
