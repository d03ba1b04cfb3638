"""The paper's ablations in small: `python -m benchmarks.ablations` runs them all and writes docs/ablations.md."""
