"""Every node of the pack."""

from __future__ import annotations

from comfy_api.latest import io

from .conditioning import LoomVideoDeepstackEncode
from .loaders import LoomVideoEncoderLoader, LoomVideoModelLoader, LoomVideoVAELoader
from .references import LoomVideoReferenceSlots
from .sampler import LoomVideoSampler
from .sampling import LoomVideoGuider, LoomVideoScheduler, LoomVideoUniPCSampler

NODES: tuple[type[io.ComfyNode], ...] = (
    LoomVideoModelLoader,
    LoomVideoEncoderLoader,
    LoomVideoVAELoader,
    LoomVideoReferenceSlots,
    LoomVideoDeepstackEncode,
    LoomVideoSampler,
    LoomVideoGuider,
    LoomVideoUniPCSampler,
    LoomVideoScheduler,
)
"""In the order in which the host lists them."""
