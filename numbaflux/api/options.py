"""Options of `numba.njit` for numerical loops."""

# No check of a division; sums in any order, products and sums in one, -0 like 0.  Unlike
# `fastmath=True` it assumes of no number that it is not nan or inf.
FAST = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
