"""Training steps beside ones by hand: `python -m benchmarks.nn`. A workload is a file."""
