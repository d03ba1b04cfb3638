"""Training data: what a sample is, where samples come from, how they become packs."""
