"""Loaders of the three parts: model, encoder and VAE; each offers the built-in one beside the files that are there."""

from __future__ import annotations

CATEGORY = "LoomVideo/loaders"
