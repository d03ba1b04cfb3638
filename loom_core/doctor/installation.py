"""Checks of the machine and what is installed on it, whatever is to be made."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType

from ..bundle import find_model
from ..config.attention import PACKAGES as ATTENTION
from ..errors import LoomError, MissingExtraError
from ..media.source import load_av
from ..media.video_writer import FORMATS, available_encoder
from ..phrases import phrase
from ..weights.inspection import format_bytes
from .finding import Finding, Level

REQUIRED: Mapping[str, str] = MappingProxyType(
    {
        "av": "12",
        "einops": "",
        "numpy": "",
        "pillow": "10.1",
        "pyyaml": "",
        "safetensors": "",
        "tokenizers": "",
        "torch": "2.4",
        "tqdm": "",
        "transformers": "4.57",
    }
)
"""Package -> oldest version; as in pyproject.toml."""
OPTIONAL: Mapping[str, tuple[str, str]] = MappingProxyType({"diffusers": ("0.35", "the Wan 2.2 VAE")})
"""Package -> (oldest version, what it is needed for)."""
OLDEST_PYTHON = (3, 10)


def installation_findings() -> list[Finding]:
    """All of what this file checks, but for what a host decides itself."""
    return [
        check_python(),
        *check_packages(),
        *check_video(),
        check_device(),
        check_attention(),
        check_built_in(),
    ]


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, three at most: "2.13.0+cpu" is (2, 13, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def check_python(version: tuple[int, ...] | None = None) -> Finding:
    """Whether Python is new enough.

    Args:
        version: Of Python; None for the one that runs.
    """
    version = version or sys.version_info[:3]
    oldest = ".".join(map(str, OLDEST_PYTHON))
    found, expected = f"Python {'.'.join(map(str, version))} on {platform.system()}", f"{oldest} or newer"
    if version[:2] >= OLDEST_PYTHON:
        return Finding.note("python", found, expected=expected)
    fix = f"make a virtual environment with Python {oldest} or newer"
    return Finding(
        check="python",
        level=Level.ERROR,
        found=found,
        expected=expected,
        fix=fix,
        exit_code=MissingExtraError.exit_code,
    )


def installed(package: str) -> str | None:
    """Version of an installed package; None where it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_packages() -> list[Finding]:
    """Whether every package of the command line is there and new enough."""
    findings = [check_package(name, oldest) for name, oldest in REQUIRED.items()]
    return findings + [check_package(name, oldest, needed_for=use) for name, (oldest, use) in OPTIONAL.items()]


def check_package(name: str, oldest: str, *, needed_for: str = "") -> Finding:
    """Whether a package is there and new enough.

    Args:
        name: Of the package.
        oldest: Oldest version; empty for any.
        needed_for: The one use of a package that may be absent.
    """
    version = installed(name)
    level = Level.WARNING if needed_for else Level.ERROR
    wanted = f"{name}>={oldest}" if oldest else name
    expected = phrase("{version} or newer", version=oldest) if oldest else "any version"
    command = f"pip install '{wanted}'" if oldest else f"pip install {name}"
    if version is None:
        error = MissingExtraError(name, needed_for or "everything here", fix=command)
        return Finding.of_error("packages", error, level=level)
    found = phrase("{name} {version}", name=name, version=version)
    if oldest and version_numbers(version) < version_numbers(oldest):
        return Finding(
            check="packages",
            level=level,
            found=found,
            expected=expected,
            fix=phrase("{command}", command=command),
            command=command,
            exit_code=MissingExtraError.exit_code,
        )
    return Finding.note("packages", found, expected=expected)


def check_video() -> list[Finding]:
    """Whether PyAV loads, with which FFmpeg, and which encoder each kind of file is written with."""
    try:
        av = load_av()
    except LoomError as error:
        return [Finding.of_error("video", error)]
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, number))}" for name, number in sorted(av.library_versions.items())
    )
    program = "with" if shutil.which("ffmpeg") else "without"
    words = f"PyAV with its own FFmpeg ({libraries}), {program} an ffmpeg program, which is not needed"
    findings = [Finding.note("video", words)]
    for suffix, file_format in FORMATS.items():
        try:
            encoder = available_encoder(file_format).name
        except LoomError as error:
            findings.append(Finding.of_error("video", error, level=Level.WARNING))
            continue
        best = file_format.encoders[0].name
        findings.append(
            Finding.note("video", f"{encoder} for {suffix}", expected=best)
            if encoder == best
            else Finding.warning(
                "video",
                f"{encoder} for {suffix}, whose files grow larger",
                expected=best,
                fix="install PyAV from its own wheels",
                command="pip install --force-reinstall av",
            )
        )
    return findings


def check_device() -> Finding:
    """What computes, and whether a GPU is left unused."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        words = f"GPU {torch.cuda.get_device_name()}, {format_bytes(free)} of {format_bytes(total)} free"
        return Finding.note("device", words)
    if torch.backends.mps.is_available():
        return Finding.note("device", "an Apple GPU (mps)")
    if has_nvidia_driver():
        return Finding.warning(
            "device",
            f"an NVIDIA driver, and torch {torch.__version__}, which does not reach its GPU",
            expected="a torch built for CUDA, not newer than the driver allows",
            fix="install torch as its own install page says for CUDA, or update the driver",
        )
    cores = os.cpu_count() or 1
    return Finding.note(
        "device",
        f"no GPU, {cores} processor core{'' if cores == 1 else 's'}",
        expected="that for the built-in model; a GPU for the released weights",
    )


def has_nvidia_driver() -> bool:
    """Whether the driver's own program is there."""
    return shutil.which("nvidia-smi") is not None


def check_attention() -> Finding:
    """What attention can use on a GPU; without a fused kernel of torch's, its memory grows with the square."""
    from torch.backends import cuda

    enabled = {
        "flash": cuda.flash_sdp_enabled(),
        "memory-efficient": cuda.mem_efficient_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }
    names = ", ".join(name for name, is_on in enabled.items() if is_on) or "none"
    found = f"torch's scaled_dot_product_attention with the kernels {names}"
    versions = {one.package: installed(one.package) for one in ATTENTION.values()}
    others = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    found += f"; of packages that --attention takes {others or 'none, and none is needed'}"
    if enabled["flash"] or enabled["memory-efficient"]:
        return Finding.note("attention", found, expected="a fused one among them")
    return Finding.warning(
        "attention",
        found,
        expected="flash or memory-efficient, since the memory of the math kernel grows with the square of the tokens",
        fix="enable it (torch.backends.cuda.enable_flash_sdp)",
    )


def check_built_in() -> Finding:
    """Whether the built-in model is whole."""
    try:
        find_model().check()
    except LoomError as error:
        return Finding.of_error("built-in", error)
    return Finding.note("built-in", "the built-in model loom-tiny, whole")
