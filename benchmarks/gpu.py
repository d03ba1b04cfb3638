"""For the owner of a GPU: `python -m benchmarks.gpu --model DIR` fills the table of seconds, memory and fidelity.

Each row is a whole run through the pipeline, in this process: reading the prompt, encoding, denoising, decoding. Rows
that are done are kept in the work folder, so that the same command goes on after a stop; so is a row that ran out of
memory. What a faster way loses is its PSNR against the row `exact` of the same case. The first row also pays for what a
GPU does once a process.

`--smoke` runs the built-in model at a small size, a minute on a CPU: that the command works, not how fast anything is.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loom_core.atomic import atomic_target, make_folder
from loom_core.bundle import ModelFiles, default_preset_name, find_model
from loom_core.cli.arguments import Parser
from loom_core.cli.compute import ComputeWords, choose_compute
from loom_core.cli.exits import as_resource_error, run
from loom_core.cli.fitting import fit_to_gpu
from loom_core.config.presets import get_preset
from loom_core.errors import ConfigError
from loom_core.evaluation.measures import psnr
from loom_core.media.decode import read_clip
from loom_core.media.encode import write_image, write_video
from loom_core.pipeline import generate
from loom_core.request import Request, plan_request

from .report import environment

ROOT = Path(__file__).resolve().parents[1]
SOURCE, REFERENCE = ROOT / "demo" / "harbour.mp4", ROOT / "demo" / "maroon.png"
FPS = 24.0
GIGA = 1e9
HEAD = (
    "GPU",
    "case",
    "size",
    "frames",
    "way",
    "steps",
    "seconds",
    "of them denoising",
    "peak GB",
    "PSNR against exact",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is made.

    Args:
        width: In pixels.
        height: In pixels.
        num_frames: 4k + 1.
        has_source: Whether a clip is edited; else it is made from text.
        references: How many.
    """

    width: int
    height: int
    num_frames: int
    has_source: bool = True
    references: int = 0


CASES = {
    "edit": Case(width=832, height=480, num_frames=81),
    "edit_references": Case(width=832, height=480, num_frames=81, references=4),
    "text": Case(width=832, height=480, num_frames=97, has_source=False),
    "edit_720p": Case(width=1280, height=704, num_frames=121),
    "image_edit": Case(width=1024, height=1024, num_frames=1),
}
SMOKE_CASES = {
    "edit": Case(width=128, height=128, num_frames=5, references=1),
    "image_edit": Case(width=128, height=128, num_frames=1),
}
EXACT = "exact"
WAYS: dict[str, dict[str, Any]] = {EXACT: {}, "30 steps": {"num_inference_steps": 30}}
"""Name -> what it changes of a request; the first is what the others are compared with."""
SMOKE_WAYS: dict[str, dict[str, Any]] = {EXACT: {"num_inference_steps": 3}, "2 steps": {"num_inference_steps": 2}}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run that was made.

    Args:
        device: Name of the GPU.
        model: Name of the DiT's file.
        case: Name of the case.
        width: In pixels.
        height: In pixels.
        num_frames: Of the result.
        way: Name of the way.
        steps: Denoising steps.
        seconds: On the clock, from the request to the last decoded frame; None where it did not end.
        denoising: Seconds of them.
        peak_gb: Most that torch held on the GPU; None on a CPU.
        psnr: Decibels against the exact way; None for that itself, or where it did not end.
        note: Why it did not end.
        environment: Versions.
    """

    device: str
    model: str
    case: str
    width: int
    height: int
    num_frames: int
    way: str
    steps: int
    seconds: float | None = None
    denoising: float | None = None
    peak_gb: float | None = None
    psnr: float | None = None
    note: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same row."""
        return self.device, self.model, self.case, self.way

    def line(self) -> str:
        """Of the table, in Markdown."""
        size = f"{self.width}x{self.height}"
        numbers = [
            "-" if value is None else f"{value:.{digits}f}"
            for value, digits in ((self.seconds, 1), (self.denoising, 1), (self.peak_gb, 2), (self.psnr, 1))
        ]
        numbers[0] = self.note or numbers[0]
        cells = (self.device, self.case, size, str(self.num_frames), self.way, str(self.steps), *numbers)
        return f"| {' | '.join(cells)} |"


def table(rows: Sequence[Row]) -> str:
    """The published table."""
    head = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    return "\n".join([*head, *(row.line() for row in rows)]) + "\n"


def read_rows(path: Path) -> list[Row]:
    """Rows that are done.

    Raises:
        ConfigError: The file is not what this command writes.
    """
    if not path.is_file():
        return []
    try:
        return [Row(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}, which holds no rows ({error})", expected="what this command writes", fix="name another --work"
        ) from error


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Write rows.json and table.md; each appears whole or not at all."""
    text = json.dumps([asdict(row) for row in rows], indent=2, allow_nan=False) + "\n"
    for name, content in (("rows.json", text), ("table.md", table(rows))):
        with atomic_target(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


def there_and_back(frames: Tensor, num_frames: int) -> Tensor:
    """A clip of another length [num_frames, height, width, 3]: forwards, backwards, and so on; never a jump."""
    count = len(frames)
    turns = torch.arange(num_frames) % max(1, 2 * (count - 1))
    return frames[torch.where(turns < count, turns, 2 * (count - 1) - turns)]


def source_of(case: Case, clip: Path, folder: Path) -> Path:
    """A file with the source of a case, as long as it needs to be.

    Args:
        case: With a source.
        clip: A video of any length.
        folder: Where it is made.
    """
    size = (case.width, case.height)
    path = folder / f"source_{case.width}x{case.height}_{case.num_frames}.{'png' if case.num_frames == 1 else 'mp4'}"
    if path.is_file():
        return path
    frames = there_and_back(
        read_clip(clip, target_fps=FPS, max_frames=case.num_frames, size=size).frames, case.num_frames
    )
    if case.num_frames == 1:
        write_image(path, frames)
    else:
        write_video(path, iter([frames]), fps=FPS, size=size)
    return path


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all rows share.

    Args:
        files: Of the model.
        words: Device and precision, as the user said them.
        source: The clip that is edited.
        work: Folder of the rows.
    """

    files: ModelFiles
    words: ComputeWords
    source: Path
    work: Path


def request_of(case: Case, setup: Setup, changes: Mapping[str, Any]) -> Request:
    """The request of a row."""
    source = source_of(case, setup.source, setup.work) if case.has_source else None
    mentions = " and ".join(f"@Image {number + 1}" for number in range(case.references))
    prompt = f"Use the background of {mentions}." if mentions else "Make it a painting of a rainy evening."
    return Request(
        prompt=prompt,
        source=source,
        references=(REFERENCE,) * case.references,
        width=case.width,
        height=case.height,
        num_frames=case.num_frames,
        **changes,
    )


def measure_row(row: Row, case: Case, setup: Setup, changes: Mapping[str, Any]) -> tuple[Row, Tensor]:
    """Make a run.

    Args:
        row: As far as it is known before.
        case: What is made.
        setup: With what.
        changes: Of the request, by the way.

    Returns:
        The row with its numbers, and the frames, uint8 [F, height, width, 3].
    """
    config = setup.files.dit_config()
    plan = plan_request(request_of(case, setup, changes), get_preset(default_preset_name(config)))
    compute = choose_compute(setup.words, config)
    compute = fit_to_gpu(compute, setup.words, plan, setup.files, config=config, say=print)
    is_cuda = compute.device.type == "cuda"
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(compute.device)
    times: dict[str, float] = {}

    def note(phase: str) -> None:
        times[phase] = time.perf_counter()

    begin = time.perf_counter()
    result = generate(plan, setup.files, compute=compute, notify=note)
    denoised = time.perf_counter()  # finite latents were asked for, so the GPU is done with them
    frames = torch.cat(list(result.frames))
    end = time.perf_counter()
    found = replace(
        row,
        steps=plan.sampling.num_inference_steps,
        seconds=end - begin,
        denoising=denoised - times["denoising"],
        peak_gb=torch.cuda.max_memory_allocated(compute.device) / GIGA if is_cuda else None,
    )
    return found, frames


def fidelity(frames: Tensor, exact: Path) -> float | None:
    """PSNR against kept frames in decibels; None where they are not there, and 100 for equal ones."""
    if not exact.is_file():
        return None
    expected = load_file(exact)["frames"]
    return min(100.0, psnr(float((frames.float() - expected.float()).square().mean())))


def run_row(row: Row, case: Case, setup: Setup, changes: Mapping[str, Any]) -> Row:
    """`measure_row`, compared with the exact way; a row that runs out of memory says so."""
    exact = setup.work / f"{row.case}_{EXACT}.safetensors"
    try:
        found, frames = measure_row(row, case, setup, changes)
    except Exception as error:
        if as_resource_error(error) is None:
            raise
        return replace(row, note="out of memory")
    finally:
        gc.collect()
    if row.way == EXACT:
        save_file({"frames": frames}, exact)
        return found
    return replace(found, psnr=fidelity(frames, exact))


def device_name(words: ComputeWords) -> str:
    """The GPU's name; "CPU" for a CPU."""
    device = choose_compute(words, find_model().dit_config()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def run_all(setup: Setup, cases: Mapping[str, Case], ways: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """All rows that are not done yet; each is written as it ends.

    Returns:
        All rows of the work folder.
    """
    make_folder(setup.work, what="the work folder", fix="name another with --work")
    rows = read_rows(setup.work / "rows.json")
    device, about = device_name(setup.words), environment()
    for name, case in cases.items():
        for way, changes in ways.items():
            steps = changes.get("num_inference_steps", 0)
            row = Row(
                device=device, model=setup.files.dit.name, case=name, width=case.width, height=case.height,
                num_frames=case.num_frames, way=way, steps=steps, environment={**about, "gpu": device},
            )  # fmt: skip
            if row.key in {done.key for done in rows}:
                print(f"done before: {name}, {way}")
                continue
            print(f"{name}, {way} ...", flush=True)
            rows.append(run_row(row, case, setup, changes))
            write_rows(setup.work, rows)
            print(rows[-1].line(), flush=True)
    return rows


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(prog="python -m benchmarks.gpu", description="Seconds, memory and fidelity of whole runs on a GPU.")
    parser.add_argument("--model", type=Path, help="released weights: a DiT's file, or a folder with all parts")
    parser.add_argument("--mllm", type=Path, help="Qwen3-VL-8B-Instruct, where it is not beside the model")
    parser.add_argument("--vae", type=Path, help="the Wan 2.2 VAE, where it is not beside the model")
    parser.add_argument("--source", type=Path, default=SOURCE, help="clip to edit (default: a bundled one)")
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE", help=f"some of {', '.join(CASES)}")
    parser.add_argument("--device", default=None, help="as of cli.generate (default: cuda)")
    parser.add_argument("--dtype", default=None, help="as of cli.generate (default: bf16)")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "runs" / "gpu", help="folder of the rows (default: %(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="the built-in model at a small size, on any machine")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    cases, ways = (SMOKE_CASES, SMOKE_WAYS) if arguments.smoke else (CASES, WAYS)
    if arguments.model is None and not arguments.smoke:
        raise ConfigError(
            "no weights", expected="the released ones", fix="name them with --model, or try the command with --smoke"
        )
    if unknown := sorted(set(arguments.only) - set(cases)):
        raise ConfigError(f"no case {', '.join(unknown)}", expected=f"some of {', '.join(cases)}", fix="leave it out")
    device = arguments.device or ("cpu" if arguments.smoke else "cuda")
    if arguments.device is None and device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "no CUDA device", expected="a GPU that this torch can use", fix="name another with --device, or try --smoke"
        )
    setup = Setup(
        files=find_model(arguments.model, mllm=arguments.mllm, codec=arguments.vae),
        words=ComputeWords(device=device, dtype=arguments.dtype),
        source=arguments.source,
        work=arguments.work,
    )
    setup.files.check()
    chosen = {name: case for name, case in cases.items() if not arguments.only or name in arguments.only}
    print(table(run_all(setup, chosen, ways)))
    print(f"The rows are in {arguments.work}")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
