"""Benchmarks of loom_core: counted first (operations, bytes), timed second. `python -m benchmarks` runs all."""
