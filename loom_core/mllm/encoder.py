"""Qwen3-VL as the reader of prompts: the states of its last decoder layers, one for each DiT block.

Block i of `num_blocks` reads h_(num_layers - num_blocks + i), h_l being the output of decoder layer l with the visual
deepstack features of that layer added and the final norm not applied. That is what the next layer (or, after the last
layer, the final norm) is given, so hooks on their inputs read it off the stock model of any transformers version.

Differences from the official code: no head, no copied model, layers that no block reads are not kept, and the vision
tower runs once for the full and the visual-only prompt.

Legend: S context tokens, W width of the MLLM.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, WeightsError
from ..protocols import EncodedPrompt
from ..types import Branch, Clip, Task
from .batch import PromptBatch, batch_prompts
from .frames import TRAINED_MAX_FRAMES
from .loading import load_qwen, open_qwen
from .picture_sizes import IMAGE_SETTINGS, VIDEO_SETTINGS, VisionSettings
from .reader import PromptReader
from .streaming import streamed_layers
from .tokens import PromptTokenizer, TokenizedPrompt, load_tokenizer
from .vision import load_vision_settings

if TYPE_CHECKING:
    from transformers import Qwen3VLModel


class QwenEncoder:
    """Reads prompts with Qwen3-VL; a `protocols.MLLMEncoder`.

    Args:
        model: Qwen3-VL without its head, in evaluation mode.
        tokenizer: Of the same model.
        num_blocks: Blocks of the DiT; that many of the last decoder layers are kept.
        image_settings: How stills become patches.
        video_settings: How clips become patches.
        max_frames: Frames of a clip that the MLLM sees; 4 as trained, see `frames.py`.

    Raises:
        ConfigError: `num_blocks` is not between 1 and the number of decoder layers.
        WeightsError: Model and tokenizer disagree on a special token.
    """

    def __init__(
        self,
        model: Qwen3VLModel,
        tokenizer: PromptTokenizer,
        *,
        num_blocks: int,
        image_settings: VisionSettings = IMAGE_SETTINGS,
        video_settings: VisionSettings = VIDEO_SETTINGS,
        max_frames: int = TRAINED_MAX_FRAMES,
    ) -> None:
        num_layers = len(model.language_model.layers)
        if not 1 <= num_blocks <= num_layers:
            raise ConfigError(
                f"a DiT of {num_blocks} blocks with an MLLM of {num_layers} layers",
                expected="at most one block a layer",
                fix="load the MLLM that the DiT was trained with",
            )
        _check_token_ids(model, tokenizer)
        self._model: Qwen3VLModel | None = model
        self._streaming = ExitStack()
        self.reader = PromptReader(tokenizer, image_settings, video_settings, max_frames)
        self.num_blocks = num_blocks
        self.num_layers = num_layers
        self.hidden_size: int = model.language_model.embed_tokens.weight.shape[1]

    @property
    def tokenizer(self) -> PromptTokenizer:
        """What writes the prompts as token ids."""
        return self.reader.tokenizer

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        num_blocks: int,
        dtype: torch.dtype,
        device: torch.device,
        config: Path | None = None,
        tokenizer: Path | None = None,
        rope_precision: str = "exact",
        max_frames: int = TRAINED_MAX_FRAMES,
        streams: bool = False,
    ) -> QwenEncoder:
        """From a Hugging Face folder or one safetensors file.

        Args:
            path: Folder (with `config.json` and tokenizer files) or file.
            num_blocks: Blocks of the DiT.
            dtype: Of the weights.
            device: Where they go.
            config: A `config.json`; None looks beside the weights and falls back to Qwen3-VL-8B's for a single file.
            tokenizer: A tokenizer folder or `tokenizer.json`; None looks beside the weights.
            rope_precision: "exact" or "bf16", see `loading.load_qwen`.
            max_frames: Frames of a clip that the MLLM sees.
            streams: Only layers that work come to the device, and rows of the table of words; see `streaming.py`.

        Raises:
            WeightsError: The files are missing, damaged or of another model.
            ConfigError: A setting makes no sense.
            MissingExtraError: transformers is not installed, or too old.
        """
        open_qwen(path, config=config)  # another model is named as what it is, not as one without a tokenizer
        folder = path if path.is_dir() else path.parent
        image_settings, video_settings = load_vision_settings(folder)
        words = load_tokenizer(tokenizer or folder)  # before the weights: it is cheap and often what is missing
        home = torch.device("cpu") if streams else device
        model = load_qwen(path, dtype=dtype, device=home, config=config, rope_precision=rope_precision)
        encoder = cls(
            model,
            words,
            num_blocks=num_blocks,
            image_settings=image_settings,
            video_settings=video_settings,
            max_frames=max_frames,
        )
        if streams:
            encoder._streaming.enter_context(streamed_layers(model, device))
        return encoder

    @property
    def model(self) -> Qwen3VLModel:
        """The model.

        Raises:
            ConfigError: It was released.
        """
        if self._model is None:
            raise ConfigError("an encoder that was released", expected="one with its weights", fix="load it again")
        return self._model

    def encode(
        self,
        task: Task,
        prompt: str,
        *,
        negative_prompt: str,
        references: Sequence[Clip] = (),
        source: Clip | None = None,
        layout: str = "official",
        branches: Collection[Branch] = tuple(Branch),
    ) -> EncodedPrompt:
        """States of the last `num_blocks` decoder layers for the full, visual-only and negative prompt.

        The states are on the CPU: those of one prompt move there before the next is read, so that a GPU never holds
        more than one prompt's.

        Args:
            task: Gives the prefix and the order of the parts.
            prompt: The instruction.
            negative_prompt: What the unconditional branch reads.
            references: In the order of `@Image 1`, `@Image 2` ..., at the size that the DiT gets them.
            source: What is edited, at the size that the DiT gets it, all frames.
            layout: "official" or "inline".
            branches: Whose states are wanted; the others are not computed. There is no visual branch without source
                and references, asked for or not.

        Raises:
            ConfigError: The layout is unknown, a picture is too narrow, or the encoder was released.
            WeightsError: The states are not finite.
        """
        full = self.reader.full(task, prompt, references=references, source=source, layout=layout)
        states: dict[Branch, tuple[Tensor, ...]] = {}
        with _shared_vision_features(self.model):
            if Branch.FULL in branches:
                states[Branch.FULL] = self._states_on_cpu(full)
            if Branch.VISUAL in branches and full.is_visual:
                states[Branch.VISUAL] = self._states_on_cpu(self.tokenizer.visual_only(full))
        if Branch.UNCONDITIONAL in branches:
            states[Branch.UNCONDITIONAL] = self._states_on_cpu(self.reader.negative(negative_prompt))
        return EncodedPrompt(
            full=states.get(Branch.FULL),
            negative=states.get(Branch.UNCONDITIONAL),
            visual=states.get(Branch.VISUAL),
        )

    def hidden_states(self, prompt: TokenizedPrompt) -> tuple[Tensor, ...]:
        """States of the last `num_blocks` decoder layers.

        Args:
            prompt: What `reader` or `tokenizer.visual_only` made.

        Returns:
            One [S, W] a block, in block order, of the model's device and dtype.

        Raises:
            WeightsError: They are not finite.
        """
        return self.hidden_states_of_all([prompt])[0]

    @torch.no_grad()
    def hidden_states_of_all(self, prompts: Sequence[TokenizedPrompt]) -> list[tuple[Tensor, ...]]:
        """States of several prompts, read in one batch; see `hidden_states`.

        Args:
            prompts: At least one. All of them and their states are in memory at once.

        Raises:
            WeightsError: The states are not finite.
        """
        model = self.model
        like = model.visual.patch_embed.proj.weight  # of the weights that are always where the model computes
        batch = batch_prompts(prompts, pad_id=self.tokenizer.special.im_end).to(like.device, like.dtype)
        with state_taps(model, self.num_blocks) as states:
            model(
                input_ids=batch.input_ids,
                # always given: without a mask some versions take the jumps of the positions for packed samples
                attention_mask=batch.attention_mask,
                position_ids=positions_of(model, batch, self.tokenizer),
                use_cache=False,
                **batch.pictures,
            )
        if not _are_finite(states, batch.attention_mask):
            raise WeightsError(
                "states of the MLLM that are not finite",
                expected="finite numbers",
                fix="use bf16 or fp32 instead of fp16; if that does not help, download the weights again",
            )
        return [
            tuple(state[index, :length] for state in states) for index, length in enumerate(batch.lengths)
        ]  # [S, W]

    def _states_on_cpu(self, prompt: TokenizedPrompt) -> tuple[Tensor, ...]:
        return tuple(state.cpu() for state in self.hidden_states(prompt))

    def release(self) -> None:
        """Give the weights' memory back; the encoder cannot read any more."""
        on_gpu = self._model is not None and self._model.visual.patch_embed.proj.weight.device.type == "cuda"
        self._streaming.close()
        self._model = None
        gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()


def _are_finite(states: Sequence[Tensor], attention_mask: Tensor) -> bool:
    """Whether all tokens have finite states [B, S, W], padding aside; a GPU is waited for once."""
    is_padding = attention_mask == 0
    return bool(torch.stack([(state.isfinite().all(-1) | is_padding).all() for state in states]).all())


def positions_of(model: Any, batch: PromptBatch, tokenizer: PromptTokenizer) -> Tensor:
    """M-RoPE positions (time, height, width) of a batch: int64 [3, B, S].

    Args:
        model: Qwen3-VL, whose own rule is asked; its signature depends on the version.
        batch: The prompts.
        tokenizer: Knows which tokens are pictures.
    """
    grids = {name: value for name, value in batch.pictures.items() if name.endswith("_grid_thw")}
    if "mm_token_type_ids" in inspect.signature(model.get_rope_index).parameters:  # transformers 5
        grids["mm_token_type_ids"] = tokenizer.token_types(batch.input_ids)
    positions, _ = model.get_rope_index(batch.input_ids, attention_mask=batch.attention_mask, **grids)
    return positions


@contextmanager
def state_taps(model: Qwen3VLModel, count: int) -> Iterator[list[Tensor]]:
    """Collects, in order, the states of the last `count` decoder layers during a forward pass."""
    text = model.language_model
    readers: list[nn.Module] = [*text.layers[1:], text.norm]  # whoever is given the state of layer 0, 1, 2 ...
    states: list[Tensor] = []

    def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    handles = [reader.register_forward_pre_hook(keep, with_kwargs=True) for reader in readers[-count:]]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _shared_vision_features(model: Any) -> Iterator[None]:
    """Within, pictures that the vision tower has seen are not computed again: it runs once for equal pixels."""
    compute = model.get_image_features  # clips pass through it too
    known: list[tuple[Tensor, Tensor, Any]] = []

    def remembered(pixel_values: Tensor, image_grid_thw: Tensor, **kwargs: Any) -> Any:
        for pixels, grids, features in known:
            if torch.equal(pixels, pixel_values) and torch.equal(grids, image_grid_thw):
                return features
        features = compute(pixel_values, image_grid_thw, **kwargs)
        known.append((pixel_values, image_grid_thw, features))
        return features

    model.get_image_features = remembered
    try:
        yield
    finally:
        del model.get_image_features


def _check_token_ids(model: Qwen3VLModel, tokenizer: PromptTokenizer) -> None:
    wanted = {
        "image_pad": model.config.image_token_id,
        "video_pad": model.config.video_token_id,
        "vision_start": model.config.vision_start_token_id,
        "vision_end": model.config.vision_end_token_id,
    }
    for name, token_id in wanted.items():
        found = getattr(tokenizer.special, name)
        if found != token_id:
            raise WeightsError(
                f"a tokenizer whose <|{name}|> is {found}",
                expected=f"{token_id}, as the model's configuration says",
                fix="give the tokenizer of the same model as the weights",
            )
