"""Derivatives of kernels: what is particular to many threads that run one program."""
