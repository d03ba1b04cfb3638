"""Train loom-tiny's MLLM on captions and attributes of the procedural world; afterwards it is frozen.

    python scripts/train_tiny_mllm.py --output FOLDER [--steps N] [--state FILE] [--metrics FILE]

The real Qwen3-VL reads pictures and instructions before a DiT ever sees its states; this one learns as much of it as
the world needs, from the dialogues of tiny_dialogues.py. Two things are scored: the answer, word by word, and what the
states that the DiT reads say at the end of the question, by heads that are thrown away afterwards. `--state` names a
file from which an interrupted run goes on. Step N always sees the same samples.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from make_tiny_mllm import write
from safetensors.torch import save_file
from tiny_dialogues import IGNORED, SLOTS, Dialogue, make_dialogue
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from loom_core.atomic import atomic_target
from loom_core.config.model import LOOM_TINY
from loom_core.config.training import OptimiserSettings
from loom_core.mllm.batch import PromptBatch, batch_prompts
from loom_core.mllm.encoder import QwenEncoder, positions_of, state_taps
from loom_core.mllm.tokens import TokenizedPrompt
from loom_core.training.learning_rate import learning_rate
from loom_core.training.watch.metrics_file import drop_later

STEPS = 2500
BATCH, PARTS = 48, 4  # dialogues of a step; parts of like length that they are read in, as padding costs by its square
RATE = OptimiserSettings(lr=2e-3, warmup=100, decay="cosine", final_lr=0.01)
SCORED_TOKENS = 3  # at the end of a question; each of them has to say all that `slots` asks
SLOTS_WEIGHT = 1.0
SEED = 0  # of the heads
SAVE_EVERY = 200  # steps
PLACE_SCALE = 4.0  # of the vision tower's positions at first, so that they stand out beside what is seen there
logger = logging.getLogger("train_tiny_mllm")


@dataclass(frozen=True)
class AnswerBatch:
    """Some prompts of a step with their answers behind them.

    Args:
        prompts: The tokens.
        labels: int64 [B, S], `IGNORED` outside the answers.
        ends: int64 [B], where each question's last token stands.
        slots: int64 [B, slots].
    """

    prompts: PromptBatch
    labels: Tensor
    ends: Tensor
    slots: Tensor


class Batches(IterableDataset[list[AnswerBatch]]):
    """The parts of the steps from `first` up to `last`."""

    def __init__(self, encoder: QwenEncoder, first: int, last: int) -> None:
        self.reader, self.tokenizer = encoder.reader, encoder.tokenizer
        self.first, self.last = first, last

    def __iter__(self) -> Iterator[list[AnswerBatch]]:
        """Steps in order."""
        torch.set_num_threads(1)
        for step in range(self.first, self.last):
            yield self.parts(range(step * BATCH, (step + 1) * BATCH))

    def parts(self, indices: range) -> list[AnswerBatch]:
        """Some dialogues, the shortest first."""
        read = [(dialogue, self.reader.read(dialogue.content)) for dialogue in map(make_dialogue, indices)]
        read.sort(key=lambda pair: len(pair[1].input_ids))
        size = -(-len(read) // PARTS)
        return [self.batch(read[start : start + size]) for start in range(0, len(read), size)]

    def batch(self, read: Sequence[tuple[Dialogue, TokenizedPrompt]]) -> AnswerBatch:
        """Dialogues and what is read of each as one batch."""
        prompts, labels, ends, slots = [], [], [], []
        for dialogue, prompt in read:
            answer = torch.tensor([*self.tokenizer.text_ids(dialogue.answer), self.tokenizer.special.im_end])
            ends.append(len(prompt.input_ids) - 1)
            slots.append(dialogue.slots)
            prompts.append(replace(prompt, input_ids=torch.cat([prompt.input_ids, answer])))
            labels.append(torch.cat([torch.full_like(prompt.input_ids, IGNORED), answer]))
        batch = batch_prompts(prompts, pad_id=self.tokenizer.special.im_end)
        labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED)
        return AnswerBatch(batch, labels, torch.tensor(ends), torch.tensor(slots))


class SlotHeads(nn.Module):
    """Reads the slots off single states; only there to train the MLLM.

    Args:
        width: Of the states.
        layers: Layers whose states are read, each by a head of its own.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.sizes = [len(words) for _, words in SLOTS] * 2
        self.heads = nn.ModuleList(
            nn.Sequential(nn.RMSNorm(width), nn.Linear(width, sum(self.sizes))) for _ in range(layers)
        )

    def forward(self, states: Sequence[Tensor], batch: AnswerBatch) -> tuple[Tensor, Tensor]:
        """Cross entropy of all slots that have an answer, the mean of the layers, and what the last layer has right.

        Args:
            states: Of each layer [B, S, W].
            batch: Whose they are.

        Returns:
            Both summed over slots, dialogues and tokens.
        """
        rows = torch.arange(len(batch.ends))[:, None]
        places = batch.ends[:, None] - torch.arange(SCORED_TOKENS)  # [B, SCORED_TOKENS]
        wanted = batch.slots[:, None].expand(-1, SCORED_TOKENS, -1).flatten(0, 1)  # [B SCORED_TOKENS, slots]
        logits_of = [
            head(state[rows, places].flatten(0, 1)).float().split(self.sizes, dim=1)
            for head, state in zip(self.heads, states, strict=True)
        ]
        losses = [
            functional.cross_entropy(logit, wanted[:, index], ignore_index=IGNORED, reduction="sum")
            for logits in logits_of
            for index, logit in enumerate(logits)
        ]
        rights = torch.stack([logit.argmax(1) for logit in logits_of[-1]], dim=1) == wanted
        return torch.stack(losses).sum() / len(self.heads), rights[wanted != IGNORED].sum()


def read_batch(model: Any, batch: AnswerBatch, encoder: QwenEncoder) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Logits [answer tokens, vocabulary], what they should be, int64 [answer tokens], and the states the DiT reads."""
    with state_taps(model, encoder.num_blocks) as read:
        states = model(
            input_ids=batch.prompts.input_ids,
            attention_mask=batch.prompts.attention_mask,
            position_ids=positions_of(model, batch.prompts, encoder.tokenizer),
            use_cache=False,
            **batch.prompts.pictures,
        ).last_hidden_state
    wanted = batch.labels[:, 1:]
    is_answer = wanted != IGNORED
    logits = functional.linear(states[:, :-1][is_answer], model.language_model.embed_tokens.weight)
    return logits, wanted[is_answer], read


def stand_out(positions: Tensor) -> None:
    """Give the vision tower's positions [places, W] waves along rows and columns to start from, of `PLACE_SCALE`.

    As they come, they are drowned by the patches, and no place is ever learned.
    """
    side, count = math.isqrt(len(positions)), positions.shape[1] // 4
    angles = torch.arange(side)[:, None] * (torch.arange(count) + 1) * math.pi / (2 * side)  # [side, W / 4]
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)  # [side, W / 2]
    rows, columns = waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)
    with torch.no_grad():
        positions.copy_(PLACE_SCALE * torch.cat([rows, columns], dim=2).flatten(0, 1))


def add_gradients(encoder: QwenEncoder, heads: SlotHeads, parts: Sequence[AnswerBatch]) -> dict[str, float]:
    """Run the model forward and back over the parts of a step; loss, and shares of words and slots that are right."""
    words = sum(int((part.labels != IGNORED).sum()) for part in parts)
    slots = sum(int((part.slots != IGNORED).sum()) for part in parts) * SCORED_TOKENS
    loss, words_right, slots_right = 0.0, 0, 0
    for part in parts:
        with torch.autocast("cpu", torch.bfloat16):
            logits, wanted, states = read_batch(encoder.model, part, encoder)
        slots_loss, right = heads(states, part)
        words_loss = functional.cross_entropy(logits.float(), wanted, reduction="sum")
        share = words_loss / words + SLOTS_WEIGHT * slots_loss / slots
        share.backward()
        loss, slots_right = loss + share.item(), slots_right + int(right)
        words_right += int((logits.argmax(-1) == wanted).sum())
    return {"loss": loss, "accuracy": words_right / words, "slots": slots_right / slots}


def train(encoder: QwenEncoder, *, steps: int, state: Path | None, metrics: Path | None) -> None:
    """Train the encoder's model in place."""
    model = encoder.model.requires_grad_(True).train()
    model.set_attn_implementation("eager")  # on a CPU three times as fast as the fused kernel's backward pass
    torch.manual_seed(SEED)
    heads = SlotHeads(encoder.hidden_size, encoder.num_blocks)
    weights = [*model.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(weights, betas=(0.9, 0.98), weight_decay=0.01)
    first, seconds = 0, 0.0
    if state is None or not state.exists():
        stand_out(model.visual.pos_embed.weight)
    else:
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        heads.load_state_dict(saved["heads"])
        optimiser.load_state_dict(saved["optimiser"])
        first, seconds = saved["step"], saved["seconds"]
    if metrics is not None and metrics.exists():  # lines of steps that a kill undid would stand there twice
        drop_later(metrics, first)
    batches = DataLoader(Batches(encoder, first, steps), batch_size=None, num_workers=1, prefetch_factor=4)
    losses: list[float] = []
    began = time.monotonic() - seconds
    for step, parts in enumerate(batches, start=first):
        optimiser.zero_grad()
        told = add_gradients(encoder, heads, parts)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step + 1, RATE, steps=steps)
        optimiser.step()
        losses.append(told["loss"])
        if (step + 1) % 50 == 0 or step + 1 == steps:
            mean = sum(losses[-50:]) / len(losses[-50:])
            line = {"step": step + 1, **told, "loss": mean, "seconds": time.monotonic() - began}
            logger.info("of %d: %s", steps, ", ".join(f"{name} {value:.5g}" for name, value in line.items()))
            if metrics is not None:
                with metrics.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"event": "step", **line}) + "\n")
        if state is not None and ((step + 1) % SAVE_EVERY == 0 or step + 1 == steps):
            with atomic_target(state) as draft:
                saved = {"model": model.state_dict(), "heads": heads.state_dict(), "optimiser": optimiser.state_dict()}
                torch.save({**saved, "step": step + 1, "seconds": time.monotonic() - began}, draft)
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
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=STEPS, help="(default: %(default)s)")
    parser.add_argument("--state", type=Path, help="file from which an interrupted run goes on")
    parser.add_argument("--metrics", type=Path, help="JSONL file that losses are added to")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    write(arguments.output)
    encoder = QwenEncoder.load(
        arguments.output, num_blocks=LOOM_TINY.num_layers, dtype=torch.float32, device=torch.device("cpu")
    )
    train(encoder, steps=arguments.steps, state=arguments.state, metrics=arguments.metrics)
    save(encoder, arguments.output)


if __name__ == "__main__":
    main()
