"""Training: the flow-matching objective and its noise levels."""
