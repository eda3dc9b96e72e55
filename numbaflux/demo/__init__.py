"""What `python -m numbaflux` runs, and what the notebooks show."""
