"""Weights that come to a device block by block, while others compute."""
