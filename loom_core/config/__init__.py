"""Frozen settings: model sizes and sampling defaults."""
