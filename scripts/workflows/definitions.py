"""The bundled workflows: one a task, and three for work that artists do.

Every one of them runs as it is opened, on the built-in model and the bundled pictures; other files in the three loaders
make it run on the released weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .graph import Column, Output, Step, Workflow

PACK_ID = "comfyui-loomvideo"
PACK_VERSION = "0.1.0"
BUILT_IN = "built-in: loom-tiny"
SHAPES_CLIP, SHAPES, HARBOUR = "loomvideo_shapes.mp4", "loomvideo_shapes.png", "loomvideo_harbour.mp4"
STAR, ORANGE, MAROON = "loomvideo_star.png", "loomvideo_orange.png", "loomvideo_maroon.png"

_HUB = "https://huggingface.co"
RELEASED: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "LoomVideoModelLoader": (
        {
            "name": "gen_model.pth",
            "url": f"{_HUB}/MSALab/LoomVideo/resolve/main/RL/gen_model.pth",
            "directory": "diffusion_models",
        },
    ),
    "LoomVideoEncoderLoader": (
        {
            "name": "qwen3vl_8b_fp8_scaled.safetensors",
            "url": f"{_HUB}/Comfy-Org/Qwen3-VL/resolve/main/text_encoders/qwen3vl_8b_fp8_scaled.safetensors",
            "directory": "text_encoders",
        },
    ),
    "LoomVideoVAELoader": (
        {
            "name": "wan2.2_vae.safetensors",
            "url": f"{_HUB}/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files/vae/wan2.2_vae.safetensors",
            "directory": "vae",
        },
    ),
}
"""The released files, for the missing-model dialog. Source: the model pages of LoomVideo, Qwen3-VL and Wan 2.2."""

_WEIGHTS_NOTE = f"""
**This graph runs as it is**, on loom-tiny, the small model that comes with the pack. It shows that everything works;
all it knows is a world of coloured shapes.

**For real results** put these files into your `models` folders, press **R**, and choose them in the three loaders:

| loader | folder | file |
|---|---|---|
| model | `diffusion_models` | [gen_model.pth]({_HUB}/MSALab/LoomVideo/resolve/main/RL/gen_model.pth) (10.4 GB) |
| encoder | `text_encoders` | [qwen3vl_8b_fp8_scaled.safetensors]\
({_HUB}/Comfy-Org/Qwen3-VL/resolve/main/text_encoders/qwen3vl_8b_fp8_scaled.safetensors) |
| VAE | `vae` | [wan2.2_vae.safetensors]\
({_HUB}/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files/vae/wan2.2_vae.safetensors) |

Size, length, steps and guidance follow the model by themselves where they are 0 or auto. The `.pth` is converted once,
to a safetensors file beside it. The official repository names no licence for its weights: check before you share
results.
"""


def _note(title: str, text: str) -> str:
    return f"# {title}\n\n{text.strip()}\n{_WEIGHTS_NOTE}"


def _loaders(weight_dtype: str = "default") -> Column:
    return Column(
        "1. Model",
        {
            "model": Step("LoomVideoModelLoader", {"model_name": BUILT_IN, "weight_dtype": weight_dtype}),
            "clip": Step("LoomVideoEncoderLoader", {"encoder_name": BUILT_IN}),
            "vae": Step("LoomVideoVAELoader", {"vae_name": BUILT_IN}),
        },
    )


def _size(aspect: str, *, length: int = 0, source: Output | None = None) -> Step:
    values: dict[str, Any] = {"resolution": "auto", "aspect": aspect, "length": length, "model": Output("model")}
    if source is not None:
        values["source"] = source
    return Step("LoomVideoSizeHelper", values)


def _empty() -> Step:
    return Step("LoomVideoEmptyLatent", {**_sized(), "length": Output("size", 2), "batch_size": 1})


def _sized() -> dict[str, Output]:
    return {"width": Output("size", 0), "height": Output("size", 1)}


def _references(*pictures: str, fit: str = "cover") -> Step:
    slots = {f"images.image_{number}": Output(key) for number, key in enumerate(pictures, start=1)}
    return Step(
        "LoomVideoReferenceSlots",
        {
            "vae": Output("vae"),
            **slots,
            **_sized(),
            "fit": fit,
            "batch": "one reference a frame",
            "temporal_indices": "",
        },
    )


def _source(clip: str, **values: Any) -> Step:
    given = {"vae": Output("vae"), "source": Output(clip), **_sized(), "max_frames": 121, "fps": 24.0, "fit": "cover"}
    return Step("LoomVideoSourceLatentScaler", {**given, "strength": 1.0, **values})


def _encode(prompt: str, latent: Output, *, layout: str = "official", **inputs: Any) -> Step:
    values = {"clip": Output("clip"), "prompt": prompt, "task": "auto", "layout": layout, "latent": latent}
    return Step("LoomVideoDeepstackEncode", {**values, **inputs})


def _sampler(latent: Output, *, visual: bool = True) -> Step:
    values: dict[str, Any] = {
        "model": Output("model"), "positive": Output("encode", 0), "negative": Output("encode", 2), "latent": latent,
        "seed": 7, "steps": 0, "guidance_scale": 0.0, "visual_guidance_scale": 0.0, "solver": "unipc",
    }  # fmt: skip
    return Step("LoomVideoSampler", values | ({"visual": Output("encode", 1)} if visual else {}))


def _decode() -> Step:
    return Step("VAEDecode", {"samples": Output("sample"), "vae": Output("vae")})


def _prefix(name: str, seed: str = "LoomVideoSampler.seed") -> str:
    """Of a file's name: the task and, filled in by ComfyUI's frontend, the seed."""
    return f"loomvideo/{name}_seed%{seed}%"


def _save_image(name: str) -> Step:
    return Step("SaveImage", {"images": Output("decode"), "filename_prefix": _prefix(name)})


def _save_video(prefix: str, video: str) -> Step:
    values = {"video": Output(video), "filename_prefix": prefix, "format": "auto", "codec": "auto"}
    return Step("SaveVideo", values)


def _new_video() -> Step:
    return Step("CreateVideo", {"images": Output("decode"), "fps": 24.0})


def _restore() -> Step:
    return Step(
        "LoomVideoRestoreVideo",
        {"images": Output("decode"), "source": Output("source"), "size": "original", "rate": "original"},
    )


def _load_clip(file: str = SHAPES_CLIP, title: str | None = None) -> Step:
    return Step("LoadVideo", {"file": file}, title)


def _load_picture(file: str, title: str | None = None) -> Step:
    return Step("LoadImage", {"image": file}, title)


TEXT_TO_VIDEO = Workflow(
    "text_to_video",
    _note("Text to video", "Say what should be seen, and how it moves. The size is the model's own, unless the "
          "helper's aspect says another."),
    (
        _loaders(),
        Column("2. What and how large", {
            "size": _size("from source"),
            "latent": _empty(),
            "encode": _encode("A large red star moves right. The background is plain navy.", Output("latent")),
        }),
        Column("3. Result", {
            "sample": _sampler(Output("latent"), visual=False), "decode": _decode(), "video": _new_video(),
            "save": _save_video(_prefix("text_to_video"), "video"),
        }),
    ),
)  # fmt: skip

TEXT_TO_IMAGE = Workflow(
    "text_to_image",
    _note("Text to image", "An image is a video of one frame: the length in the size helper is 1."),
    (
        _loaders(),
        Column("2. What and how large", {
            "size": _size("1:1", length=1),
            "latent": _empty(),
            "encode": _encode("A large yellow star. Below and right of it a small blue square. "
                              "The background is plain maroon.", Output("latent")),
        }),
        Column("3. Result", {
            "sample": _sampler(Output("latent"), visual=False), "decode": _decode(),
            "save": _save_image("text_to_image"),
        }),
    ),
)  # fmt: skip

IMAGE_EDIT = Workflow(
    "image_edit",
    _note("Image edit", "Say what should change; what you do not name stays."),
    (
        _loaders(),
        Column("2. What to change", {
            "picture": _load_picture(SHAPES),
            "size": _size("from source", length=1, source=Output("picture")),
        }),
        Column("3. Source and prompt", {
            "source": _source("picture"),
            "encode": _encode("Make the blue square red.", Output("source", 1), source=Output("source")),
        }),
        Column("4. Result", {
            "sample": _sampler(Output("source", 1)), "decode": _decode(), "save": _save_image("image_edit"),
        }),
    ),
)  # fmt: skip

VIDEO_EDIT = Workflow(
    "video_edit",
    _note("Video edit", "Say what should change; what you do not name stays. Sound, rate, size and length come back "
          "as they were."),
    (
        _loaders(),
        Column("2. What to change", {
            "clip_file": _load_clip(),
            "size": _size("from source", source=Output("clip_file")),
        }),
        Column("3. Source and prompt", {
            "source": _source("clip_file"),
            "encode": _encode("Make the blue square green.", Output("source", 1), source=Output("source")),
        }),
        Column("4. Result", {
            "sample": _sampler(Output("source", 1)), "decode": _decode(), "restore": _restore(),
            "save": _save_video(_prefix("video_edit"), "restore"),
        }),
    ),
)  # fmt: skip

REFERENCE_EDIT = Workflow(
    "reference_edit",
    _note("Reference edit", "The prompt names the references `@Image 1`, `@Image 2` ... in the order of their slots."),
    (
        _loaders(),
        Column("2. What to change", {
            "clip_file": _load_clip(),
            "picture": _load_picture(MAROON, "@Image 1"),
            "size": _size("from source", source=Output("clip_file")),
        }),
        Column("3. Source and references", {
            "source": _source("clip_file"),
            "references": _references("picture"),
            "encode": _encode("Use the background of @Image 1.", Output("source", 1),
                              source=Output("source"), references=Output("references")),
        }),
        Column("4. Result", {
            "sample": _sampler(Output("source", 1)), "decode": _decode(), "restore": _restore(),
            "save": _save_video(_prefix("reference_edit"), "restore"),
        }),
    ),
)  # fmt: skip

REFERENCES_TO_VIDEO = Workflow(
    "references_to_video",
    _note("References to video", "Any number of pictures become one new clip; connect one more and a slot appears."),
    (
        _loaders(),
        Column("2. References", {
            "first": _load_picture(STAR, "@Image 1"),
            "second": _load_picture(ORANGE, "@Image 2"),
        }),
        Column("3. What and how large", {
            "size": _size("from source"),
            "references": _references("first", "second"),
            "latent": _empty(),
            "encode": _encode("A large thing with the shape of @Image 1 and the colour of @Image 2 moves up. "
                              "The background is plain navy.", Output("latent"),
                              references=Output("references")),
        }),
        Column("4. Result", {
            "sample": _sampler(Output("latent")), "decode": _decode(), "video": _new_video(),
            "save": _save_video(_prefix("references_to_video"), "video"),
        }),
    ),
)  # fmt: skip

REFERENCE_TO_IMAGE = Workflow(
    "reference_to_image",
    _note("Reference to image", "A new picture of what the reference shows. The length in the size helper is 1."),
    (
        _loaders(),
        Column("2. Reference and size", {
            "picture": _load_picture(STAR, "@Image 1"),
            "size": _size("1:1", length=1),
            "references": _references("picture"),
            "latent": _empty(),
            "encode": _encode("A large purple thing with the shape of @Image 1. The background is plain grey.",
                              Output("latent"), references=Output("references")),
        }),
        Column("3. Result", {
            "sample": _sampler(Output("latent")), "decode": _decode(), "save": _save_image("reference_to_image"),
        }),
    ),
)  # fmt: skip

FASHION_TRY_ON = Workflow(
    "fashion_try_on",
    _note("Fashion try-on", "The clip shows a person, the references a garment and, if you like, its fabric close up. "
          "`contain` keeps a garment whole where `cover` would cut it. The bundled ones only stand in for yours: a "
          "square for the person, a star for the cut of the garment, orange for its fabric. With the released weights, "
          "ask for instance: *Dress the person in the garment of @Image 1, made of the fabric of @Image 2. Keep face, "
          "hair and background.*"),
    (
        _loaders(),
        Column("2. Person and garment", {
            "clip_file": _load_clip(title="The person"),
            "garment": _load_picture(STAR, "@Image 1: the garment"),
            "fabric": _load_picture(ORANGE, "@Image 2: its fabric"),
            "size": _size("from source", source=Output("clip_file")),
        }),
        Column("3. Source and references", {
            "source": _source("clip_file"),
            "references": _references("garment", "fabric", fit="contain"),
            "encode": _encode("Give the square the shape of @Image 1. Paint the square in the colour of @Image 2.",
                              Output("source", 1), source=Output("source"), references=Output("references")),
        }),
        Column("4. Result", {
            "sample": _sampler(Output("source", 1)), "decode": _decode(), "restore": _restore(),
            "save": _save_video(_prefix("fashion_try_on"), "restore"),
        }),
    ),
)  # fmt: skip

LONG_VIDEO_EDIT = Workflow(
    "long_video_edit",
    _note("Long video edit", "Clips longer than the 121 frames of training are edited in windows that overlap: each "
          "sees its own part of the source, and all see the references. Raise `max_frames` to the length of your clip "
          "and the window to 81 for the released weights."),
    (
        _loaders(),
        Column("2. What to change", {
            "clip_file": _load_clip(HARBOUR),
            "size": _size("from source", source=Output("clip_file")),
        }),
        Column("3. Source and prompt", {
            "source": _source("clip_file", max_frames=481),
            "encode": _encode("Make it black and white.", Output("source", 1), source=Output("source")),
        }),
        Column("4. In windows", {
            "windows": Step("WanContextWindowsManual", {
                "model": Output("model"), "context_length": 33, "context_overlap": 16,
                "context_schedule": "standard_static", "context_stride": 1, "closed_loop": False,
                "fuse_method": "pyramid", "freenoise": True,
            }),
            "guider": Step("LoomVideoGuider", {
                "model": Output("windows"), "positive": Output("encode", 0), "negative": Output("encode", 2),
                "visual": Output("encode", 1), "guidance_scale": 0.0, "visual_guidance_scale": 0.0,
            }),
            "noise": Step("RandomNoise", {"noise_seed": 7}),
            "solver": Step("LoomVideoUniPCSampler", {"solver": "unipc"}),
            "sigmas": Step("LoomVideoScheduler", {"steps": 0, "shift": 5.0, "denoise": 1.0, "model": Output("model")}),
        }),
        Column("5. Result", {
            "sample": Step("SamplerCustomAdvanced", {
                "noise": Output("noise"), "guider": Output("guider"), "sampler": Output("solver"),
                "sigmas": Output("sigmas"), "latent_image": Output("source", 1),
            }),
            "decode": _decode(), "restore": _restore(), "save": _save_video(
                _prefix("long_video_edit", "RandomNoise.noise_seed"), "restore"
            ),
        }),
    ),
)  # fmt: skip

LOW_MEMORY_EDIT = Workflow(
    "low_memory_edit",
    _note("Video edit with little memory", "Weights in 8 bits, half the usual length, and decoding in tiles. ComfyUI "
          "itself moves what does not fit to ordinary memory; start it with `--lowvram` if that is not enough."),
    (
        _loaders("fp8_e4m3fn"),
        Column("2. What to change", {
            "clip_file": _load_clip(),
            "size": _size("from source", source=Output("clip_file")),
        }),
        Column("3. Source and prompt", {
            "source": _source("clip_file", max_frames=49),
            "encode": _encode("Make the background plain navy.", Output("source", 1), source=Output("source")),
        }),
        Column("4. Result", {
            "sample": _sampler(Output("source", 1)),
            "decode": Step("VAEDecodeTiled", {
                "samples": Output("sample"), "vae": Output("vae"), "tile_size": 256, "overlap": 64,
                "temporal_size": 64, "temporal_overlap": 8,
            }),
            "restore": _restore(),
            "save": _save_video(_prefix("low_memory_edit"), "restore"),
        }),
    ),
)  # fmt: skip

WORKFLOWS = (
    TEXT_TO_VIDEO, TEXT_TO_IMAGE, IMAGE_EDIT, VIDEO_EDIT, REFERENCE_EDIT, REFERENCES_TO_VIDEO, REFERENCE_TO_IMAGE,
    FASHION_TRY_ON, LONG_VIDEO_EDIT, LOW_MEMORY_EDIT,
)  # fmt: skip
"""In the order in which an artist would try them."""
