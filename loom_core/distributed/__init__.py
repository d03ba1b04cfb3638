"""Several processes for one run: how they meet, share out a model or a sequence, and notice that one is gone."""
