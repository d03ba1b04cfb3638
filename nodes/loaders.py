"""Loaders of the three parts: model, encoder and VAE; each offers the built-in one beside the files that are there."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .adapter.encoder.files import offered_encoders
from .adapter.encoder.loading import load_encoder
from .adapter.files import BUILT_IN, offered
from .adapter.media.vae import FOLDER as VAE_FOLDER
from .adapter.media.vae import load_vae
from .adapter.model.conversion import ready_file
from .adapter.model.loading import FOLDER as MODEL_FOLDER
from .adapter.model.loading import (
    ROPE_CHOICES,
    SUFFIXES,
    WEIGHT_DTYPES,
    ModelOptions,
    describe,
    dit_path,
    load_model,
)
from .adapter.progress import NodeProgress

CATEGORY = "LoomVideo/loaders"


class LoomVideoModelLoader(io.ComfyNode):
    """DiT from a file or the built-in one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoModelLoader",
            display_name="LoomVideo Model Loader",
            category=CATEGORY,
            description="Loads the LoomVideo model, or the small one that comes with the pack. Its MODEL works with "
            "ComfyUI's own nodes: LoRA loaders, EasyCache, context windows, torch.compile, ModelSave.",
            search_aliases=["load diffusion model", "unet loader", "checkpoint", "gen_model", "wan 2.2 5b"],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=offered(MODEL_FOLDER, suffixes=SUFFIXES),
                    tooltip="gen_model.pth or gen_model.safetensors for the released weights; built-in: loom-tiny runs "
                    "on any machine. Files lie in models/diffusion_models.",
                ),
                io.Combo.Input(
                    "weight_dtype",
                    options=list(WEIGHT_DTYPES),
                    default="default",
                    tooltip="How weights are stored. fp8 halves the memory at a small loss; fp8_e4m3fn_fast also "
                    "multiplies in 8 bits on GPUs that can. A quantised file keeps its own.",
                ),
                io.Boolean.Input(
                    "convert_official",
                    default=True,
                    advanced=True,
                    tooltip="Write an official .pth as .safetensors beside it, once: it loads faster, and other "
                    "programs can read it without running code from it.",
                ),
                io.Boolean.Input(
                    "integer_timesteps",
                    default=True,
                    advanced=True,
                    tooltip="Tell the model whole timesteps, as the official scheduler does. Off tells it fractions, "
                    "as ComfyUI does with other models.",
                ),
                io.Combo.Input(
                    "rope_precision",
                    options=list(ROPE_CHOICES),
                    default=ROPE_CHOICES[0],
                    advanced=True,
                    tooltip="Of the tables of positions. auto is what the weights were trained with: bf16 for the "
                    "released ones, exact for others.",
                ),
            ],
            outputs=[io.Model.Output("MODEL", tooltip="For LoomVideo Sampler, or any node of ComfyUI's for models.")],
        )

    @classmethod
    def execute(
        cls,
        model_name: str,
        weight_dtype: str,
        *,
        convert_official: bool = True,
        integer_timesteps: bool = True,
        rope_precision: str = ROPE_CHOICES[0],
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        options = ModelOptions(weight_dtype, integer_timesteps=integer_timesteps, rope_precision=rope_precision)
        progress = NodeProgress()
        path = ready_file(dit_path(model_name), convert=convert_official, progress=progress)
        progress.text(f"loading {path.name}")
        model: Any = load_model(str(path), options)
        progress.text(f"{BUILT_IN if model_name == BUILT_IN else path.name}: {describe(model)}")
        return io.NodeOutput(model)


class LoomVideoVAELoader(io.ComfyNode):
    """VAE of 48 channels, from a file or the built-in one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoVAELoader",
            display_name="LoomVideo VAE Loader",
            category=CATEGORY,
            description="Loads the Wan 2.2 VAE, or the small one of the built-in model. "
            "Refuses a VAE whose latents LoomVideo does not know, such as that of Wan 2.1.",
            search_aliases=["load vae", "vae loader", "wan 2.2 vae", "codec"],
            inputs=[
                io.Combo.Input(
                    "vae_name",
                    options=offered(VAE_FOLDER),
                    tooltip="wan2.2_vae.safetensors for the released weights, built-in: loom-tiny for the built-in "
                    "model. Files lie in models/vae.",
                )
            ],
            outputs=[io.Vae.Output("VAE", tooltip="Works with all of ComfyUI's VAE nodes.")],
        )

    @classmethod
    def execute(cls, vae_name: str) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        return io.NodeOutput(load_vae(vae_name))


class LoomVideoEncoderLoader(io.ComfyNode):
    """Qwen3-VL from a file, a Hugging Face folder, or the built-in one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoEncoderLoader",
            display_name="LoomVideo Encoder Loader",
            category=CATEGORY,
            description="Loads Qwen3-VL, which reads prompt, references and source: the file that ComfyUI's Load CLIP "
            "takes, a Hugging Face folder, or the small one of the built-in model. Refuses other text encoders, and "
            "files without the vision part, before they are loaded.",
            search_aliases=["load clip", "clip loader", "text encoder", "qwen3-vl", "mllm"],
            inputs=[
                io.Combo.Input(
                    "encoder_name",
                    options=offered_encoders(),
                    tooltip="qwen3vl_8b_fp8_scaled.safetensors (or another Qwen3-VL-8B) for the released weights, "
                    "built-in: loom-tiny for the built-in model. Files lie in models/text_encoders; names that end "
                    "in a slash are Hugging Face folders there or in models/LLM.",
                )
            ],
            outputs=[io.Clip.Output("CLIP", tooltip="For LoomVideo Deepstack Encode.")],
        )

    @classmethod
    def execute(cls, encoder_name: str) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        return io.NodeOutput(load_encoder(encoder_name))
