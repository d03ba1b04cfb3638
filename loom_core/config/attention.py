"""What attention can be computed by, as data: the command line's words, the doctor's list, what `models` imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class AttentionPackage:
    """A Python package with a kernel for queries, keys and values [B, L, heads, head width] on an NVIDIA GPU.

    Args:
        package: As pip knows it.
        module: What is imported.
        function: The kernel's name in it.
        options: What the kernel is given beside queries, keys and values.
        most_error: Of a result, relative to torch's; beyond it the kernel is not used.
        about: What it is, in a few words.
    """

    package: str
    module: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    most_error: float
    about: str


AUTO, SDPA = "auto", "sdpa"
PACKAGES: Mapping[str, AttentionPackage] = MappingProxyType(
    {
        "flash": AttentionPackage(
            package="flash-attn",
            module="flash_attn",
            function="flash_attn_func",
            most_error=2e-2,
            about="exact",
        ),
        "sage": AttentionPackage(
            package="sageattention",
            module="sageattention",
            function="sageattn",
            options={"tensor_layout": "NHD"},
            most_error=0.2,
            about="queries and keys in 8 bits, at a loss",
        ),
    }
)
"""Those that are no part of torch, by our word for them."""
ATTENTIONS = (AUTO, SDPA, *PACKAGES)
"""auto is flash-attn's kernel where it is installed and works, else torch's own; never one at a loss."""
