"""Guidance, solvers and schedule in the host's own loop."""
