"""Every number this project states comes from here: `python -m benchmarks`."""
