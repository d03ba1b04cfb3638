"""Scores of a model on samples whose right answers are known."""
