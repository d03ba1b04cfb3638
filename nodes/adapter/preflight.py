"""What the pre-flight asks the host: files behind choices, memory, versions, how attention is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import torch
from comfy import model_management
from comfy.ldm.modules import attention

from ...loom_core.bundle import BUILT_IN as BUILT_IN_FOLDER
from ...loom_core.bundle import find_model
from ...loom_core.doctor.files import (
    ENCODER,
    MODEL,
    VAE,
    DiTLook,
    EncoderLook,
    look_at_dit,
    look_at_encoder,
    look_at_vae,
)
from ...loom_core.doctor.finding import Finding
from ...loom_core.doctor.installation import REQUIRED, check_package, version_numbers
from ...loom_core.doctor.media import look_at
from ...loom_core.errors import LoomError, MediaError
from ...loom_core.media.probe import MediaInfo
from ...loom_core.phrases import Phrase, phrase
from ...loom_core.weights.identify import ModelKind
from ...loom_core.weights.inspection import format_bytes
from ...loom_core.weights.reading import open_checkpoint
from .encoder.files import encoder_path, offered_encoders
from .files import BUILT_IN, media_path, offered, path_of
from .host import MINIMUM_VERSION, version
from .media.vae import EXPECTED, require_whole_vae
from .media.vae import FOLDER as VAE_FOLDER
from .memory import available_memory
from .model.loading import CODEC_FILE, SUFFIXES, dit_path
from .model.loading import FOLDER as MODEL_FOLDER

FRONTEND = "comfyui-frontend-package"
SLOW_ATTENTION = frozenset({"attention_basic", "attention_split", "attention_sub_quad"})
"""The host's ways to compute attention without a fused kernel."""
_USUAL = {"model": ("gen_model", "loomvideo"), "encoder": ("qwen3vl_8b", "qwen3-vl-8b"), "vae": ("wan2.2_vae",)}
"""Part of a model -> how the names of the released files begin, in lower case."""
_PACKAGES = ("av", "safetensors", "tokenizers")
"""Of those that the nodes use: what a damaged installation lacks most often."""
_PERHAPS = (ModelKind.OTHER_VAE, ModelKind.UNKNOWN)
"""What the host may know how to load, which only loading shows."""

Stamp = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of each file."""


class ComfyHost:
    """The running ComfyUI; see `nodes.preflight.reading.Host`."""

    def dit(self, name: str, *, is_edit: bool) -> DiTLook:
        """A choice of LoomVideo Model Loader, as its header shows it."""
        try:
            path = dit_path(name)
        except LoomError as error:
            return DiTLook((Finding.of_error(MODEL, error),))
        return _dit(path, _stamp(path), is_edit=is_edit)

    def encoder(self, name: str) -> EncoderLook:
        """A choice of LoomVideo Encoder Loader."""
        try:
            path = find_model().mllm if name == BUILT_IN else encoder_path(name)
        except LoomError as error:
            return EncoderLook((Finding.of_error(ENCODER, error),))
        return _encoder(path, _stamp(path))

    def vae(self, name: str) -> list[Finding]:
        """A choice of LoomVideo VAE Loader."""
        try:
            path = BUILT_IN_FOLDER / CODEC_FILE if name == BUILT_IN else path_of(name, [VAE_FOLDER])
        except LoomError as error:
            return [Finding.of_error(VAE, error)]
        return _vae(path, _stamp(path))

    def suggestion(self, kind: str) -> str | None:
        """A choice of a loader that has the name of the released weights; None if there is none."""
        if kind == "encoder":
            names = offered_encoders()
        else:
            names = offered(MODEL_FOLDER, suffixes=SUFFIXES) if kind == "model" else offered(VAE_FOLDER)
        return next((name for name in names if Path(name).name.lower().startswith(_USUAL[kind])), None)

    def media(self, name: str) -> tuple[MediaInfo | None, list[Finding]]:
        """A file that a loader of the host names, or why it cannot be read."""
        path = media_path(name)
        if path is None:
            error = MediaError(
                phrase("no file {name} in ComfyUI's input folder", name=repr(name)),
                expected="a file that is there",
                fix="upload it, or choose another",
            )
            return None, [Finding.of_error("media", error)]
        info, findings = look_at(path, check="media")
        return info, list(_named(findings, path))

    def free_memory(self) -> tuple[int, bool]:
        """Bytes that a run can have, with what the host would unload for it, and whether they are a GPU's."""
        return available_memory()

    def findings(self) -> list[Finding]:
        """On the host itself."""
        device = model_management.get_torch_device()
        name = model_management.get_torch_device_name(device)
        total = format_bytes(int(model_management.get_total_memory(device)))
        notes = [
            Finding.note(
                "comfyui",
                phrase("{name} {version}", name="ComfyUI", version=version()),
                expected=phrase("{version} or newer", version=MINIMUM_VERSION),
            ),
            Finding.note(
                "device",
                phrase(
                    "{device} with {memory} and torch {version}", device=name, memory=total, version=torch.__version__
                ),
            ),
        ]
        packages = (check_package(name, REQUIRED[name]) for name in _PACKAGES)
        return [*notes, *frontend_findings(), check_attention(), *packages]


def frontend_findings() -> list[Finding]:
    """Version of the host's frontend against the one that this host asks for."""
    try:
        found = metadata.version(FRONTEND)
    except metadata.PackageNotFoundError:
        return [Finding.note("frontend", phrase("a frontend that is no package {name}", name=FRONTEND))]
    needed = _needed_frontend()
    words = phrase("frontend {version}", version=found)
    expected = phrase("{version} or newer", version=needed) if needed else ""
    if version_numbers(found) < version_numbers(needed):
        command = f"pip install {FRONTEND}=={needed}"
        return [
            Finding.warning(
                "frontend", words, expected=expected, fix=phrase("{command}", command=command), command=command
            )
        ]
    return [Finding.note("frontend", words, expected=expected)]


def _needed_frontend() -> str:
    """The version that this host asks for; empty where it does not say."""
    try:
        from app.frontend_management import FrontendManager

        return str(FrontendManager.get_required_frontend_version())
    except (ImportError, AttributeError, OSError, ValueError):
        return ""


def check_attention() -> Finding:
    """Whether the host computes attention with a fused kernel."""
    name = getattr(attention.optimized_attention, "__name__", "another")
    if name not in SLOW_ATTENTION:
        return Finding.note("attention", phrase("{name} for attention", name=name), expected="one with a fused kernel")
    return Finding.warning(
        "attention",
        phrase("{name} for attention, slow and large for as many tokens as a clip has", name=name),
        expected="a fused kernel, as PyTorch's",
        fix="start ComfyUI with --use-pytorch-cross-attention",
    )


@lru_cache(maxsize=16)  # a pickle of 10 GB is looked at for seconds
def _dit(path: Path, _stamp: Stamp, *, is_edit: bool) -> DiTLook:
    look = look_at_dit(path, takes_quantised=True, is_edit=is_edit)
    return replace(look, findings=_named(look.findings, path))


@lru_cache(maxsize=16)
def _encoder(path: Path, _stamp: Stamp) -> EncoderLook:
    look = look_at_encoder(path, takes_quantised=True)
    return replace(look, findings=_named(look.findings, path))


@lru_cache(maxsize=16)
def _vae(path: Path, _stamp: Stamp) -> list[Finding]:
    """The host may know other VAEs of the right channels, which only loading shows."""
    try:
        checkpoint = open_checkpoint(path)
        kind = checkpoint.kind
        if kind is ModelKind.WAN_22_VAE:
            require_whole_vae(checkpoint)
    except LoomError as error:
        return list(_named([Finding.of_error(VAE, error)], path))
    if kind in _PERHAPS:
        words = phrase("{path}, {kind}, which ComfyUI may know", path=path.name, kind=kind.value)
        return [Finding.note(VAE, words, expected=EXPECTED)]
    return list(_named(look_at_vae(path, by_diffusers=False), path))


def _named(findings: Iterable[Finding], path: Path) -> tuple[Finding, ...]:
    """Findings that name a file as the loaders do: whoever uses a server need not know its folders."""

    def short(text: str) -> str:
        if isinstance(text, Phrase):
            return text.mapped(short)
        return text.replace(str(path), path.name).replace(str(path.parent), "its folder")

    return tuple(replace(one, found=short(one.found), fix=short(one.fix)) for one in findings)


def _stamp(path: Path) -> Stamp:
    """What changes when a file, or one in a folder, does."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = ((file.name, file.stat()) for file in files if file.is_file())
    return tuple((name, state.st_mtime_ns, state.st_size) for name, state in states)
