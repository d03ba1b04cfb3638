"""Recomputes recorded reference cases through the public code and compares: how we know that the numbers are right.

A folder of cases has one `<kind>/<name>.json` (what the tensors are) beside `<kind>/<name>.safetensors` for each case,
and the small models they were made with under `models/`.
"""
