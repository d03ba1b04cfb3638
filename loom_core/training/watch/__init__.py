"""How a person watches a training run: terminal, metrics file, curves, sample grids."""
