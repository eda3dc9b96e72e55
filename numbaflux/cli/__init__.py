"""The commands of `python -m numbaflux` that work on the user's own code and machine."""
