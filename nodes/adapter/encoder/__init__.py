"""Qwen3-VL as the host has it, read layer by layer."""
