"""Codecs between pixels and latents."""
