"""Every node of the pack."""

from __future__ import annotations

from comfy_api.latest import io

from .conditioning import LoomVideoDeepstackEncode
from .latents import LoomVideoEmptyLatent, LoomVideoSizeHelper
from .loaders import LoomVideoEncoderLoader, LoomVideoModelLoader, LoomVideoVAELoader
from .lora import LoomVideoLoraLoader
from .memory_plan import LoomVideoMemoryPlan
from .references import LoomVideoReferenceSlots
from .sampler import LoomVideoSampler
from .sampling import LoomVideoGuider, LoomVideoScheduler, LoomVideoUniPCSampler
from .source import LoomVideoSourceLatentScaler
from .training import LoomVideoDatasetPrepare, LoomVideoLoraSave, LoomVideoLoraTrain
from .video import LoomVideoRestoreVideo

NODES: tuple[type[io.ComfyNode], ...] = (
    LoomVideoModelLoader,
    LoomVideoEncoderLoader,
    LoomVideoVAELoader,
    LoomVideoLoraLoader,
    LoomVideoSizeHelper,
    LoomVideoEmptyLatent,
    LoomVideoReferenceSlots,
    LoomVideoSourceLatentScaler,
    LoomVideoDeepstackEncode,
    LoomVideoSampler,
    LoomVideoGuider,
    LoomVideoUniPCSampler,
    LoomVideoScheduler,
    LoomVideoRestoreVideo,
    LoomVideoMemoryPlan,
    LoomVideoDatasetPrepare,
    LoomVideoLoraTrain,
    LoomVideoLoraSave,
)
"""In the order in which the host lists them."""
