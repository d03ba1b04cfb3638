"""Write workflows/*.jpg: what each bundled workflow makes, on the built-in model.

    python -m scripts.workflows.thumbnails --server http://127.0.0.1:8188 [--only NAME ...]

needs a ComfyUI with this pack at that address. An edit is shown beside its source, left and right of a line.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import av
from PIL import Image

from .definitions import WORKFLOWS
from .graph import Workflow

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workflows"
SIDE = 400  # pixels
LINE = 4  # pixels
QUALITY = 86
MOMENT = 0.6  # of a clip's length
MOST_SECONDS = 600


def post(address: str, content: dict[str, Any]) -> Any:
    """Send JSON and read the JSON that comes back."""
    request = urllib.request.Request(address, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def get(address: str) -> bytes:
    """What lies at an address."""
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


def result_of(workflow: Workflow, server: str) -> tuple[str, bytes]:
    """Name and bytes of the file that a workflow saves."""
    prompt = json.loads((FOLDER / "api" / f"{workflow.name}.json").read_text(encoding="utf-8"))
    number = post(f"{server}/prompt", {"prompt": prompt})["prompt_id"]
    end = time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        history = json.loads(get(f"{server}/history/{number}"))
        if history:
            outputs = history[number]["outputs"][workflow.ids()[workflow.picture]]
            (entry,) = next(iter(outputs.values())) if "images" not in outputs else outputs["images"]
            query = urllib.parse.urlencode({key: entry[key] for key in ("filename", "subfolder", "type")})
            return entry["filename"], get(f"{server}/view?{query}")
        time.sleep(0.5)
    raise TimeoutError(workflow.name)


def picture_of(name: str, content: bytes) -> Image.Image:
    """A still, or the frame of a clip at its moment."""
    if not name.endswith((".mp4", ".webm", ".mkv")):
        return Image.open(io.BytesIO(content)).convert("RGB")
    with av.open(io.BytesIO(content)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    return frames[int(MOMENT * (len(frames) - 1))]


def square(picture: Image.Image) -> Image.Image:
    """The middle of a picture, as large as a thumbnail."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def source_of(workflow: Workflow) -> Image.Image | None:
    """What a workflow edits, if it edits."""
    scaler = next((step for step in workflow.steps.values() if step.kind == "LoomVideoSourceLatentScaler"), None)
    if scaler is None:
        return None
    loader = workflow.steps[scaler.values["source"].node]
    file = str(loader.values.get("image") or loader.values.get("file")).removeprefix("loomvideo_")
    return picture_of(file, (ROOT / "demo" / file).read_bytes())


def thumbnail(result: Image.Image, source: Image.Image | None) -> Image.Image:
    """The result; of an edit its right half, beside the left half of the source."""
    made = square(result)
    if source is not None:
        made.paste(square(source).crop((0, 0, SIDE // 2, SIDE)), (0, 0))
        made.paste((255, 255, 255), (SIDE // 2 - LINE // 2, 0, SIDE // 2 + LINE // 2, SIDE))
    return made


def main() -> None:
    """Make every thumbnail, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8188", help="address of a running ComfyUI with this pack")
    parser.add_argument("--only", nargs="*", default=[], help="names of workflows")
    arguments = parser.parse_args()
    for workflow in WORKFLOWS:
        if arguments.only and workflow.name not in arguments.only:
            continue
        result = picture_of(*result_of(workflow, arguments.server))
        thumbnail(result, source_of(workflow)).save(FOLDER / f"{workflow.name}.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
