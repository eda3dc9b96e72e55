"""Passes over kernels: what many threads do at once, and which of them meet."""
