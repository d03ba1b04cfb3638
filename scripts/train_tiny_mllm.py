"""Train loom-tiny's MLLM on captions and attributes of the procedural world; afterwards it is frozen.

    python scripts/train_tiny_mllm.py [--output FOLDER] [--steps N] [--state FILE] [--metrics FILE]

The real Qwen3-VL reads pictures and instructions before a DiT ever sees its states; this one learns as much of it as
the world needs, by predicting answers word by word:

- requests exactly as the DiT's are written (prefix, source, references, instruction; in either order), answered by a
  terse description of the right result, so that the states hold what was asked of what; of an edit it says where each
  thing is, of what is made anew only where a second thing is beside the first, as the request does;
- "Describe this." of a clip or a picture;
- questions on one attribute.

Only the answer is scored. `--state` names a file from which an interrupted run goes on. Step N always sees the same
samples.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from make_tiny_mllm import ASSETS, write
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from loom_core.atomic import atomic_target
from loom_core.data.dropout import prompt_content
from loom_core.data.encoding import thinned
from loom_core.data.sample import EncodedSample, Sample
from loom_core.data.world.relations import relation_of
from loom_core.data.world.samples import WorldSettings, make_sample
from loom_core.data.world.scene import Scene, Thing
from loom_core.mllm.batch import PromptBatch, batch_prompts
from loom_core.mllm.encoder import QwenEncoder, positions_of
from loom_core.types import Clip

SEED = 1
BATCH = 48
PEAK_RATE, LAST_RATE, WARM_UP = 2e-3, 2e-5, 100
TASKS = {
    "text-to-video": 1.0, "text-to-image": 1.0, "edit-video": 3.0, "edit-image": 1.5, "reference-edit": 2.0,
    "reference-to-video": 1.0, "reference-to-image": 1.0,
}  # fmt: skip
REQUESTS, DESCRIPTIONS = 0.5, 0.75  # bounds of the shares; the rest are questions
INFERENCE_ORDER = 0.75  # share of the requests whose parts stand as they do at inference
ASKED = WorldSettings(seed=SEED, frames=(5, 9, 17), tasks=TASKS)
SHOWN = replace(ASKED, tasks={"text-to-video": 1.0, "text-to-image": 1.0})
IGNORED = -100
logger = logging.getLogger("train_tiny_mllm")


@dataclass(frozen=True)
class Dialogue:
    """What is said and shown, and the answer."""

    content: Sequence[str | Clip]
    answer: str


def describe_thing(thing: Thing, *, moving: bool, placed: bool = True) -> str:
    """A thing in as few words as tell it apart."""
    texture = "" if thing.texture == "plain" else f" {thing.texture}"
    place = f" {thing.place}" if placed else ""
    motion = f" {thing.motion}" if moving else ""
    return f"{thing.size} {thing.colour}{texture} {thing.shape}{place}{motion}"


def describe(scene: Scene, *, moving: bool) -> str:
    """A scene that is seen in as few words as tell it apart, things in order of their shape's name."""
    things = sorted(scene.things, key=lambda thing: thing.shape)
    return _described(scene, [describe_thing(thing, moving=moving) for thing in things], moving=moving)


def describe_new(scene: Scene, *, moving: bool) -> str:
    """A scene that is to be made, without a place: the second thing is told by where it is beside the first."""
    first, *others = scene.things
    things = [describe_thing(first, moving=moving, placed=False)]
    for other in others:
        beside = relation_of(other.place, first.place)
        things.append(f"{beside} it {describe_thing(other, moving=moving, placed=False)}")
    return _described(scene, things, moving=moving)


def _described(scene: Scene, things: Sequence[str], *, moving: bool) -> str:
    style = "" if scene.style == "none" else f" {scene.style}."
    camera = f" camera {scene.camera}." if moving and scene.camera != "stays still" else ""
    return f" {', '.join(things)}. {scene.background.pattern} {scene.background.tone}.{style}{camera}"


def question(scene: Scene, *, moving: bool, chance: random.Random) -> tuple[str, str]:
    """A question on one attribute, and its answer."""
    thing = chance.choice(scene.things)
    asked = [
        (f"What colour is the {thing.shape}?", thing.colour),
        (f"Where is the {thing.shape}?", thing.place),
        (f"What texture has the {thing.shape}?", thing.texture),
        (f"How large is the {thing.shape}?", thing.size),
        ("What is the background?", f"{scene.background.pattern} {scene.background.tone}"),
        ("How many things are there?", ("one", "two", "three")[len(scene.things) - 1]),
    ]
    if sum(other.colour == thing.colour for other in scene.things) == 1:
        asked.append((f"Which shape is {thing.colour}?", thing.shape))
    if moving:
        asked.append((f"What does the {thing.shape} do?", thing.motion))
    text, answer = chance.choice(asked)
    return text, f" {answer}"


def request_content(shown: Sample, *, inference_order: bool) -> Sequence[str | Clip]:
    """A request as the DiT's prompts are written."""
    read = EncodedSample(
        key=shown.key,
        task=shown.task,
        instruction=shown.instruction,
        target=torch.empty(0),  # is no part of a prompt
        mllm_source=None if shown.source is None else thinned(shown.source),
        mllm_references=shown.references,
    )
    return prompt_content(read, prompt_order="inference" if inference_order else "training")


def make_dialogue(index: int) -> Dialogue:
    """Dialogue `index`, the same at every call."""
    chance = random.Random(f"dialogue {SEED} {index}")
    share = chance.random()
    if share < REQUESTS:
        sample = make_sample(index, ASKED)
        tell = describe_new if sample.request.before is None else describe
        answer = tell(sample.request.after, moving=not sample.request.task.is_image)
        return Dialogue(request_content(sample.sample, inference_order=chance.random() < INFERENCE_ORDER), answer)
    sample = make_sample(index, SHOWN)
    moving, scene, clip = not sample.request.task.is_image, sample.request.after, sample.sample.target
    text, answer = "Describe this.", describe(scene, moving=moving)
    if share > DESCRIPTIONS and scene.style == "none":
        text, answer = question(scene, moving=moving, chance=chance)
    return Dialogue([clip, text] if chance.randrange(2) else [text, clip], answer)


@dataclass(frozen=True)
class AnswerBatch:
    """Prompts with their answers behind them; `labels` int64 [B, S] is `IGNORED` outside the answers."""

    prompts: PromptBatch
    labels: Tensor


class Batches(IterableDataset[AnswerBatch]):
    """Batches of steps `first` to `last`."""

    def __init__(self, encoder: QwenEncoder, first: int, last: int) -> None:
        self.reader, self.tokenizer = encoder.reader, encoder.tokenizer
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[AnswerBatch]:
        """Batches in order."""
        torch.set_num_threads(1)
        for step in range(self.first, self.last):
            yield self.batch(range(step * BATCH, (step + 1) * BATCH))

    def batch(self, indices: range) -> AnswerBatch:
        """The batch of some dialogues."""
        prompts, labels = [], []
        for index in indices:
            dialogue = make_dialogue(index)
            prompt = self.reader.read(dialogue.content)
            answer = torch.tensor([*self.tokenizer.text_ids(dialogue.answer), self.tokenizer.special.im_end])
            prompts.append(replace(prompt, input_ids=torch.cat([prompt.input_ids, answer])))
            labels.append(torch.cat([torch.full_like(prompt.input_ids, IGNORED), answer]))
        batch = batch_prompts(prompts, pad_id=self.tokenizer.special.im_end)
        return AnswerBatch(batch, torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED))


def answer_logits(model: Any, batch: AnswerBatch, encoder: QwenEncoder) -> tuple[Tensor, Tensor]:
    """Logits [answer tokens, vocabulary] and what they should be, int64 [answer tokens]."""
    states = model(
        input_ids=batch.prompts.input_ids,
        attention_mask=batch.prompts.attention_mask,
        position_ids=positions_of(model, batch.prompts, encoder.tokenizer),
        use_cache=False,
        **batch.prompts.pictures,
    ).last_hidden_state
    wanted = batch.labels[:, 1:]
    is_answer = wanted != IGNORED
    return functional.linear(states[:, :-1][is_answer], model.language_model.embed_tokens.weight), wanted[is_answer]


def rate(step: int, steps: int) -> float:
    """Learning rate: up over the first steps, then down a cosine.

    The shipped model was trained with this; `training.learning_rate` differs from it in the last bit of some steps.
    """
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    done = (step - WARM_UP) / max(1, steps - WARM_UP)
    return LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def train(encoder: QwenEncoder, *, steps: int, state: Path | None, metrics: Path | None) -> None:
    """Train the encoder's model in place."""
    model = encoder.model.requires_grad_(True).train()
    model.set_attn_implementation("eager")  # on a CPU three times as fast as the fused kernel's backward pass
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    first = 0
    if state is not None and state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    if metrics is not None and metrics.exists():  # lines of steps that a kill undid would stand there twice
        lines = [line for line in metrics.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] <= first]
        metrics.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    batches = DataLoader(Batches(encoder, first, steps), batch_size=None, num_workers=1, prefetch_factor=4)
    losses: list[float] = []
    began = time.monotonic()
    for step, batch in enumerate(batches, start=first):
        with torch.autocast("cpu", torch.bfloat16):
            logits, wanted = answer_logits(model, batch, encoder)
        loss = functional.cross_entropy(logits.float(), wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate(step, steps)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == steps:
            mean = sum(losses[-50:]) / len(losses[-50:])
            accuracy = (logits.argmax(-1) == wanted).float().mean().item()
            seconds = time.monotonic() - began
            logger.info("step %d of %d: loss %.4f, right words %.3f, %.0f s", step + 1, steps, mean, accuracy, seconds)
            if metrics is not None:
                line = {"step": step + 1, "loss": mean, "accuracy": accuracy, "seconds": seconds}
                with metrics.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        if state is not None and ((step + 1) % 200 == 0 or step + 1 == steps):
            with atomic_target(state) as draft:
                saved = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
                torch.save(saved, draft)
    model.requires_grad_(False).eval()


def save(encoder: QwenEncoder, folder: Path) -> None:
    """Write the trained weights in bfloat16 by Hugging Face's names."""
    weights = {
        f"model.{name}": value.to(torch.bfloat16).contiguous() for name, value in encoder.model.named_parameters()
    }
    with atomic_target(folder / "model.safetensors") as draft:
        save_file(weights, draft, metadata={"format": "pt"})
        draft.chmod(0o644)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train loom-tiny's MLLM.")
    parser.add_argument("--output", type=Path, default=ASSETS, help="folder to write (default: the built-in assets)")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--state", type=Path, help="file from which an interrupted run goes on")
    parser.add_argument("--metrics", type=Path, help="JSONL file that losses are added to")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write(arguments.output)
    encoder = QwenEncoder.load(arguments.output, num_blocks=1, dtype=torch.float32, device=torch.device("cpu"))
    train(encoder, steps=arguments.steps, state=arguments.state, metrics=arguments.metrics)
    save(encoder, arguments.output)


if __name__ == "__main__":
    main()
