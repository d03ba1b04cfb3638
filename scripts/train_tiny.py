"""Train loom-tiny from nothing: codec, MLLM, then the three stages; `make train-tiny` runs this.

    python scripts/train_tiny.py [--work FOLDER] [--ship | --smoke] [--threads N]

Every part goes on where it was stopped, so the same command finishes an interrupted run; what was made from something
else is refused. `--ship` writes the result
over the built-in model. `--smoke` makes a few steps of everything in about a minute, kills a stage in the middle, and
fails unless the held-out losses fall and the continued run's losses equal those of one that was not killed.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from fit_tiny_codec import CLIPS
from train_tiny_mllm import STEPS

from loom_core import __version__
from loom_core.atomic import atomic_target
from loom_core.bundle import BUILT_IN
from loom_core.cli.exits import code_of_signal, run
from loom_core.config.training import read_training_config
from loom_core.data.world.source import WORLD_VERSION
from loom_core.errors import ConfigError
from loom_core.training.checkpoint import newest_checkpoint, read_state
from loom_core.training.watch.metrics_file import METRICS_FILE, read_events, read_history
from loom_core.weights.detect import CONFIG_KEY, FORMAT, FORMAT_KEY, FORMAT_VERSION, FORMAT_VERSION_KEY
from loom_core.weights.loading import load_dit
from loom_core.weights.saving import entries_of, save_safetensors

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs" / "training" / "tiny"
WORK, SMOKE_WORK = Path("runs/tiny"), Path("build/tiny-smoke")
STAGES = ("stage1", "stage2", "stage3")
STOPPED = tuple(map(code_of_signal, (signal.SIGINT, signal.SIGTERM)))
logger = logging.getLogger("train_tiny")


@dataclass(frozen=True)
class Size:
    """How much is done.

    Args:
        codec_clips: Clips that the codec is fitted on.
        mllm_steps: Steps of the MLLM.
        overrides: Settings of all stages that differ from their configs.
    """

    codec_clips: int = CLIPS
    mllm_steps: int = STEPS
    overrides: tuple[str, ...] = ()


SMOKE = Size(
    codec_clips=12,
    mllm_steps=4,
    overrides=(
        "steps=12", "optimiser.warmup=2", "optimiser.decay=constant", "checkpoint.every=4", "validation.every=6",
        "validation.samples=6",
        "validation.pictures=2", "validation.picture_steps=2", "data.max_samples_per_pack=6", "data.workers=1",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Workshop:
    """Where everything is made, and how.

    Args:
        folder: Of all parts.
        size: How much is done.
        threads: CPU threads that compute.
    """

    folder: Path
    size: Size
    threads: int

    @property
    def codec(self) -> Path:
        """The codec's file."""
        return self.folder / "codec.safetensors"

    @property
    def mllm(self) -> Path:
        """The MLLM's folder."""
        return self.folder / "mllm"

    def claim(self, part: str, **made_from: int) -> None:
        """Note beside a part what it is made from, before anything of it is made.

        Args:
            part: Name that its files begin with.
            made_from: What its files depend on, beside the version of the world.

        Raises:
            ConfigError: Files are left there that were made from something else, or that no note tells of.
        """
        note, made_from = self.folder / f"{part}.made_from.json", made_from | {"world_version": WORLD_VERSION}
        there = [path for path in (self.folder / part, *sorted(self.folder.glob(f"{part}.*"))) if path.exists()]
        noted = note.read_text(encoding="utf-8") if note.exists() else "nothing that is noted"
        wanted = json.dumps(made_from)
        if noted != wanted and set(there) - {note}:
            names = ", ".join(path.name for path in there)
            fix = f"delete {names} in {self.folder}, or give another --work"
            raise ConfigError(f"the {part} in {self.folder} made from {noted}", expected=f"from {wanted}", fix=fix)
        with atomic_target(note) as draft:
            draft.write_text(wanted, encoding="utf-8")

    def run_folder(self, stage: str) -> Path:
        """A stage's run."""
        return self.folder / stage

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of this project."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(self.threads)}
        return subprocess.Popen([sys.executable, *arguments], env=environment)

    def run(self, *arguments: str, what: str) -> None:
        """Run a command of this project; ends the program if it fails or a signal stops it."""
        code = code_of(self.start(*arguments))
        if code in STOPPED:
            logger.info("%s was stopped; the same command goes on with it", what)
        if code:
            sys.exit(code)

    def stage_command(self, stage: str, run: Path) -> list[str]:
        """The command that trains a stage, or goes on with it."""
        settings = [f"mllm={self.mllm}", f"codec={self.codec}", *self.size.overrides]
        if stage != STAGES[0]:
            settings.append(f"starts_from={self.run_folder(STAGES[STAGES.index(stage) - 1])}")
        command = ["-m", "loom_core.cli.train", "--config", str(CONFIGS / f"{stage}.yaml"), "--run", str(run)]
        command += ["--device", "cpu", "--threads", str(self.threads), "--log-every", "50"]
        if "fork" in multiprocessing.get_all_start_methods():
            settings.append("read_ahead=1")  # one core trains, the other encodes and reads prompts
        return command + [word for setting in settings for word in ("--set", setting)]


def code_of(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a command; a Ctrl-C, which it gets as well, is left for it to end by."""
    while True:
        with suppress(KeyboardInterrupt):
            code = process.wait()
            return code if code >= 0 else code_of_signal(-code)


def train_all(workshop: Workshop) -> None:
    """Make every part that is not finished yet."""
    workshop.folder.mkdir(parents=True, exist_ok=True)
    size, scripts = workshop.size, ROOT / "scripts"
    workshop.claim("codec", clips=size.codec_clips)
    workshop.claim("mllm", steps=size.mllm_steps)
    if not workshop.codec.exists():
        fit = scripts / "fit_tiny_codec.py"
        workshop.run(str(fit), "--output", str(workshop.codec), "--clips", str(size.codec_clips), what="the codec")
    finished = workshop.folder / "mllm.finished"
    if not finished.exists():
        state, metrics = workshop.folder / "mllm.state", workshop.folder / "mllm.jsonl"
        command = [str(scripts / "train_tiny_mllm.py"), "--output", str(workshop.mllm), "--steps", str(size.mllm_steps)]
        workshop.run(*command, "--state", str(state), "--metrics", str(metrics), what="the MLLM")
        finished.touch()
    for stage in STAGES:
        workshop.run(*workshop.stage_command(stage, workshop.run_folder(stage)), what=stage)


def last_checkpoint(run: Path) -> Path:
    """The last checkpoint of a stage; ends the program if there is none."""
    folder = newest_checkpoint(run)
    if folder is None:
        sys.exit(f"no checkpoint in {run}")
    return folder


def is_finished(workshop: Workshop, stage: str) -> bool:
    """Whether a stage has made its last step."""
    config = read_training_config(CONFIGS / f"{stage}.yaml", overrides=workshop.size.overrides)
    return read_state(last_checkpoint(workshop.run_folder(stage))).step == config.steps


def losses_of(run: Path) -> list[float]:
    """The loss of each step as it was written, in order."""
    return [event["loss"] for event in read_events(run / METRICS_FILE) if event["event"] == "step"]


def training_record(workshop: Workshop) -> dict[str, object]:
    """What the weights' file says of their training."""
    record: dict[str, object] = {"mllm": {"steps": workshop.size.mllm_steps}}
    for stage in STAGES:
        state = read_state(last_checkpoint(workshop.run_folder(stage)))
        hours = round(state.seconds / 3600, 2)
        record[stage] = {"step": state.step, "samples": state.samples, "tokens": state.tokens, "hours": hours}
    return record


def ship(workshop: Workshop, folder: Path) -> None:
    """Write codec, MLLM and the last stage's averaged weights, in bfloat16, as a model folder."""
    last = last_checkpoint(workshop.run_folder(STAGES[-1]))
    if not is_finished(workshop, STAGES[-1]):
        sys.exit(f"{STAGES[-1]} is not finished: {last.name}")
    model = load_dit(last / "ema.safetensors", dtype=torch.float32, device="cpu")
    metadata = {
        FORMAT_KEY: FORMAT,
        FORMAT_VERSION_KEY: str(FORMAT_VERSION),
        CONFIG_KEY: model.config.to_json(),
        "made_by": f"scripts/train_tiny.py, loom_core {__version__}",
        "training": json.dumps(training_record(workshop), sort_keys=True),
    }
    entries = entries_of({name: value.detach() for name, value in model.state_dict().items()}, dtype=torch.bfloat16)
    (folder / "mllm").mkdir(exist_ok=True)
    parts = {workshop.codec: folder / "codec.safetensors"}
    parts |= {file: folder / "mllm" / file.name for file in workshop.mllm.iterdir()}
    with ExitStack() as drafts:  # all take their places at its end, so that a full disk leaves the old model whole
        save_safetensors(drafts.enter_context(atomic_target(folder / "dit.safetensors")), entries, metadata=metadata)
        for made, place in parts.items():
            shutil.copyfile(made, drafts.enter_context(atomic_target(place)))


def check_losses_fall(run: Path) -> None:
    """Refuse a run whose last held-out loss, at the same noise, is not below its first."""
    means = [metrics.loss for metrics in read_history(run / METRICS_FILE).validations]
    logger.info("%s: held-out loss %.4f -> %.4f", run.name, means[0], means[-1])
    if means[-1] >= means[0]:
        sys.exit(f"the held-out loss of {run.name} did not fall: {means[0]:.4f} at first, {means[-1]:.4f} at last")


def check_resume(workshop: Workshop, *, after: int) -> None:
    """Kill the first stage after some steps, continue it, and compare with the run that was left alone."""
    run = workshop.folder / "killed"
    process = workshop.start(*workshop.stage_command(STAGES[0], run))
    while process.poll() is None:
        if (run / METRICS_FILE).exists() and len(losses_of(run)) >= after:
            process.kill()
        time.sleep(0.01)
    steps_then = len(losses_of(run))
    workshop.run(*workshop.stage_command(STAGES[0], run), what=run.name)
    whole, continued = losses_of(workshop.run_folder(STAGES[0])), losses_of(run)
    starts = [event["step"] for event in read_events(run / METRICS_FILE) if event["event"] == "start"]
    logger.info("killed after step %d of %d, continued from step %d", steps_then, len(whole), starts[-1])
    if steps_then >= len(whole):
        sys.exit("the run ended before it could be killed")
    if len(starts) < 2 or starts[-1] == 0:  # noqa: PLR2004 - the second start
        sys.exit(f"the run began anew instead of going on: it started at steps {starts}")
    if whole != continued:
        sys.exit(f"the losses of the continued run differ: {continued} instead of {whole}")


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train loom-tiny from nothing.")
    parser.add_argument("--work", type=Path, help=f"folder of all parts (default: {WORK}, with --smoke {SMOKE_WORK})")
    parser.add_argument("--ship", action="store_true", help="write the result over the built-in model")
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything, and a resumed run")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all cores)")
    arguments = parser.parse_args(argv)
    if arguments.smoke and arguments.ship:
        parser.error("--smoke makes a few steps only, which must not replace the built-in model: leave out --ship")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work = arguments.work or (SMOKE_WORK if arguments.smoke else WORK)
    workshop = Workshop(work.resolve(), SMOKE if arguments.smoke else Size(), arguments.threads)
    for stage in STAGES:
        read_training_config(CONFIGS / f"{stage}.yaml", overrides=workshop.size.overrides)
    train_all(workshop)
    if arguments.smoke:
        check_resume(workshop, after=6)
        for stage in STAGES:
            check_losses_fall(workshop.run_folder(stage))
        (workshop.folder / "model").mkdir(exist_ok=True)
        ship(workshop, workshop.folder / "model")
    if arguments.ship:
        ship(workshop, BUILT_IN)
        logger.info("wrote %s", BUILT_IN)


if __name__ == "__main__":
    sys.exit(run(main))
