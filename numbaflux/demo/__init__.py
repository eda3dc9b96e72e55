"""What `python -m numbaflux` runs: a population model fitted to a century-old ledger."""
