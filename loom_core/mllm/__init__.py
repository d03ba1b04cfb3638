"""Qwen3-VL as the text encoder: prompts, and the tapped layers."""
