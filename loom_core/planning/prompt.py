"""Memory of Qwen3-VL while it reads the prompts of all branches, one after another.

What counts is what is kept: the states that a DiT's blocks read, of every layer, and, between the full and the visual
prompt, the features of the pictures. A layer takes the most in its feed-forward part; the vision tower in its
attention, whose rotary turn is in float32. Checked with transformers 5.24 on a CPU by the tests.

Legend: S tokens, V tokens of pictures, P patches, W width of a state, e bytes of a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..types import Branch
from .moments import Moment
from .run import RunSizes
from .sizes import MLLMSizes, WeightFormat

_FLOAT = 4
_MASKS = 3
_READING_ORDER = (Branch.FULL, Branch.VISUAL, Branch.UNCONDITIONAL)


def feature_bytes(sizes: MLLMSizes, *, tokens: int, itemsize: int) -> int:
    """Features of pictures, V = `tokens`: merged, and those that are added to the first layers."""
    return (1 + sizes.num_deepstack) * tokens * sizes.hidden_size * itemsize


def layer_bytes(sizes: MLLMSizes, *, tokens: int, seen: int, itemsize: int) -> int:
    """The feed-forward part of a layer, with what the text model was given.

    Args:
        sizes: Of the MLLM.
        tokens: S.
        seen: V.
        itemsize: e.
    """
    given = (seen + tokens) * sizes.hidden_size  # features in one row, and the embedded prompt
    return itemsize * (given + tokens * (2 * sizes.hidden_size + 3 * sizes.intermediate_size))


def tower_bytes(sizes: MLLMSizes, *, patches: int, itemsize: int) -> int:
    """Of P patches that attend to each other.

    A block's attention: input, normed, queries, keys and values; the turn of the keys after the queries'.
    """
    casts = 0 if itemsize == _FLOAT else 2 * _FLOAT
    return patches * sizes.vision_width * (5 * itemsize + casts + 5 * _FLOAT)


def hosted_reading_bytes(sizes: MLLMSizes, *, tokens: int, seen: int, patches: int) -> int:
    """Of a prompt that ComfyUI reads, beside the weights.

    It computes in float32 and looks at pictures frame by frame. It casts a matrix when it is used, and makes a mask of
    all tokens by all.

    Args:
        sizes: Of the MLLM.
        tokens: S.
        seen: V.
        patches: P of the largest frame.
    """
    layer = layer_bytes(sizes, tokens=tokens, seen=seen, itemsize=_FLOAT)
    layer += _FLOAT * (sizes.hidden_size * sizes.intermediate_size + _MASKS * tokens * tokens)
    tower = tower_bytes(sizes, patches=patches, itemsize=_FLOAT)
    return max(layer, tower) + feature_bytes(sizes, tokens=seen, itemsize=_FLOAT)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the MLLM runs.

    Args:
        sizes: Of the MLLM.
        run: Sizes of the run.
        num_blocks: Blocks of the DiT, as many states are kept.
        form: Number format of the weights.
        on_gpu: Whether it is on a GPU; then the states of a prompt that was read wait in the CPU's memory, as do
            the pixels as they were read.
    """

    sizes: MLLMSizes
    run: RunSizes
    num_blocks: int
    form: WeightFormat
    on_gpu: bool

    def states(self, branch: Branch) -> int:
        """Bytes of the states of a branch."""
        return self.num_blocks * self.run.branches[branch] * self.sizes.hidden_size * self.form.itemsize

    def all_states(self) -> int:
        """Bytes of the states of all branches."""
        return sum(map(self.states, self.run.branches))

    def moments(self, *, weights: int, held: int) -> Iterator[Moment]:
        """Those of the phase that can take the most.

        Args:
            weights: Bytes of the MLLM's weights.
            held: Bytes that were there before.
        """
        item, patches = self.form.itemsize, self.run.seen.patches
        pixels = patches * self.sizes.patch_numbers
        read = 0 if self.on_gpu else pixels * _FLOAT
        tower = tower_bytes(self.sizes, patches=patches, itemsize=item)
        widening = self.form.widening(self.sizes.hidden_size, self.sizes.intermediate_size)
        done, known = 0, 0  # states of the prompts before, features of the pictures
        for branch in (branch for branch in _READING_ORDER if branch in self.run.branches):
            seen = self.run.seen.tokens if branch is not Branch.UNCONDITIONAL else 0
            batch = pixels * item if seen else 0  # a copy of the pixels in the dtype of the model
            base = {"weights": weights, "held": held}
            before = done + read + known
            if seen and not self.on_gpu and item != _FLOAT:
                copies = pixels * (_FLOAT + item)
                yield Moment(name=f"pixels of the {branch.value} prompt", activations=before + copies, **base)
            if seen and not known:
                yield Moment(name="vision tower", activations=before + batch + tower, **base)
                known = patches * self.sizes.vision_width * item
                known += feature_bytes(self.sizes, tokens=seen, itemsize=item)
                before += known
            layer = layer_bytes(self.sizes, tokens=self.run.branches[branch], seen=seen, itemsize=item)
            yield Moment(
                name=f"{branch.value} prompt",
                conditions=self.states(branch) * (self.num_blocks - 1) // self.num_blocks,
                activations=before + batch + widening + layer,
                **base,
            )
            if known and branch is Branch.FULL:
                known += batch  # what the features are known by
            if not self.on_gpu:
                done += self.states(branch)
            if branch is Branch.VISUAL or Branch.VISUAL not in self.run.branches:
                known = 0
