"""The partials of the primitives: how a rule is written (table.py) and all of them (scalar.py)."""

from numbaflux.rules import scalar as scalar
