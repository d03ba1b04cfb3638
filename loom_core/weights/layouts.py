"""Where the DiT's weights lie in a folder, as data."""

from __future__ import annotations

from pathlib import Path

from ..errors import WeightsError
from .safetensors_files import INDEX_SUFFIX

EMA_FILE = "ema/ema.pth"

CANDIDATES = (
    (EMA_FILE, "official checkpoint folder, averaged weights"),
    ("latest/gen_model.pth", "official checkpoint folder, live weights"),
    ("gen_model.pth", "official release"),
    ("gen_model.safetensors", "official release, converted"),
    ("dit.safetensors", "LoomVideo bundle"),
    ("dit", "LoomVideo bundle"),
    ("transformer", "diffusers pipeline"),
    ("diffusion_pytorch_model" + INDEX_SUFFIX, "diffusers component in shards"),
    ("diffusion_pytorch_model.safetensors", "diffusers component"),
    ("model" + INDEX_SUFFIX, "Hugging Face folder in shards"),
    ("model.safetensors", "Hugging Face folder"),
)
"""(path inside the folder, whose layout it is), the first that exists wins.

Source of the first three and their order: the official loader (golden `weights/layout.json`).
"""


def find_weights(folder: Path, *, ema: bool = True) -> Path:
    """The file or index in a folder that holds the DiT.

    Args:
        folder: A checkpoint folder of any layout in `CANDIDATES`, or one with a single safetensors file.
        ema: False passes averaged weights over and takes the live ones.

    Raises:
        WeightsError: Nothing was found, or several files and no way to choose.
    """
    for relative, _ in CANDIDATES:
        candidate = folder / relative
        if relative == EMA_FILE and not ema:
            continue
        if candidate.is_file():
            return candidate
        if candidate.is_dir():
            return find_weights(candidate, ema=ema)
    single = sorted(folder.glob("*" + INDEX_SUFFIX)) or sorted(folder.glob("*.safetensors"))
    if len(single) == 1:
        return single[0]
    what = f"{len(single)} safetensors files in {folder}" if single else f"no weights in the folder {folder}"
    raise WeightsError(
        what,
        expected=f"one of {', '.join(relative for relative, _ in CANDIDATES)}",
        fix="give the path of the file itself",
    )
