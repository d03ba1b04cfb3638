"""LoomVideo (arXiv 2606.06042) as a library: generation and editing of video and images, without ComfyUI."""

__version__ = "0.1.0"
