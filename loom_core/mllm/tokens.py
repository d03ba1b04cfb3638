r"""Prompts to token ids: Qwen's chat form written out, vision spans in place, and the visual-only variant.

The form is `<|im_start|>user\n CONTENT <|im_end|>\n<|im_start|>assistant\n`. A still is one span
`<|vision_start|> <|image_pad|> x tokens <|vision_end|>`; a clip is one span of `<|video_pad|>` a temporal patch, each
after its time, `<0.1 seconds>`. The visual-only prompt keeps the spans and drops all text, times included.

Unlike the official script, text is never searched for special tokens: a user who types `<|im_end|>` gets those letters.

Source: transformers' `Qwen3VLProcessor`; official `LoomVideo.prepare_qwen_visual_only_prompt`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import MissingExtraError, WeightsError
from .vision import VisionPatches

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Source: `tokenizer_config.json` of the Qwen tokenizers; used where a vocabulary comes without its added tokens.
_QWEN_FIRST_ADDED_ID = 151643
_QWEN_ADDED_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen cuts text into words before its merges. Source: `tokenizer.json` of the Qwen tokenizers."""


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that the prompt form is made of."""

    im_start: int
    im_end: int
    vision_start: int
    vision_end: int
    image_pad: int
    video_pad: int


@dataclass(frozen=True)
class VisionItem:
    """A picture in a prompt.

    Args:
        patches: What the vision tower reads.
        times: Of a clip, in seconds, one a temporal patch; None for a still.
    """

    patches: VisionPatches
    times: tuple[float, ...] | None = None


@dataclass(frozen=True)
class TokenizedPrompt:
    """What the MLLM reads.

    Args:
        input_ids: int64 [S].
        images: The stills, in order of their spans.
        videos: The clips, in order of their first spans.
    """

    input_ids: Tensor
    images: tuple[VisionPatches, ...] = ()
    videos: tuple[VisionPatches, ...] = ()

    @property
    def is_visual(self) -> bool:
        """Whether there is any picture."""
        return bool(self.images or self.videos)


class PromptTokenizer:
    """Writes prompts as token ids.

    Args:
        tokenizer: A Qwen byte-level BPE with its special tokens.

    Raises:
        WeightsError: It lacks one of the special tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # as letters: the special ids are put in by `encode` alone
        self._tokenizer = tokenizer
        self.special = SpecialTokens(
            **{name: self._special_id(f"<|{name}|>") for name in SpecialTokens.__dataclass_fields__}
        )

    def encode(self, content: Sequence[str | VisionItem]) -> TokenizedPrompt:
        """One user turn, and the opening of the answer.

        Args:
            content: Texts and pictures in reading order.
        """
        ids = [self.special.im_start]
        text = "user\n"
        for piece in self._pieces(content):
            if isinstance(piece, str):  # neighbouring texts are one text to the merges
                text += piece
            else:
                ids += self.text_ids(text) + piece
                text = ""
        ids += [*self.text_ids(text), *self._ending()]
        items = [item for item in content if isinstance(item, VisionItem)]
        return TokenizedPrompt(
            torch.tensor(ids, dtype=torch.int64),
            images=tuple(item.patches for item in items if item.times is None),
            videos=tuple(item.patches for item in items if item.times is not None),
        )

    def visual_only(self, prompt: TokenizedPrompt) -> TokenizedPrompt:
        """The same pictures without a word, for the visual branch of guidance."""
        spans = vision_spans(prompt.input_ids.tolist(), special=self.special)
        ids = [self.special.im_start, *self.text_ids("user\n"), *spans, *self._ending()]
        return replace(prompt, input_ids=torch.tensor(ids, dtype=torch.int64))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text of ids."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def token_types(self, input_ids: Tensor) -> Tensor:
        """0 for text, 1 for tokens of stills, 2 for tokens of clips: int64, shaped as `input_ids`."""
        return (input_ids == self.special.image_pad).long() + 2 * (input_ids == self.special.video_pad).long()

    def _pieces(self, content: Sequence[str | VisionItem]) -> Iterator[str | list[int]]:
        for item in content:
            if isinstance(item, str):
                yield item
            elif item.times is None:
                yield self._span(self.special.image_pad, item.patches.tokens_a_frame)
            else:
                for time in item.times:
                    yield f"<{time:.1f} seconds>"
                    yield self._span(self.special.video_pad, item.patches.tokens_a_frame)

    def _span(self, pad: int, count: int) -> list[int]:
        return [self.special.vision_start, *[pad] * count, self.special.vision_end]

    def _ending(self) -> list[int]:
        newline = self.text_ids("\n")
        return [self.special.im_end, *newline, self.special.im_start, *self.text_ids("assistant\n")]

    def text_ids(self, text: str) -> list[int]:
        """Token ids of a text, without any special token."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids if text else []

    def _special_id(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise WeightsError(
                f"a tokenizer without {token}",
                expected="the tokenizer of Qwen3-VL",
                fix="give the tokenizer of the same model as the weights",
            )
        return token_id


def vision_spans(ids: Sequence[int], *, special: SpecialTokens) -> list[int]:
    """All vision spans of a prompt, start and end tokens included, one after the other."""
    kept: list[int] = []
    inside = False
    for token in ids:
        inside = inside or token == special.vision_start
        if inside:
            kept.append(token)
        inside = inside and token != special.vision_end
    return kept


def load_tokenizer(path: Path) -> PromptTokenizer:
    """Tokenizer of a model folder.

    Args:
        path: A folder with `tokenizer.json`, or with `vocab.json` and `merges.txt`; or a `tokenizer.json` itself.

    Raises:
        WeightsError: Nothing of the kind is there, a file is damaged, or it is another model's tokenizer.
        MissingExtraError: The package `tokenizers` is not installed.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file():
        return PromptTokenizer(_from_tokenizer_json(file))
    if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        return PromptTokenizer(_from_vocabulary(path))
    raise WeightsError(
        f"no tokenizer in {path}",
        expected="tokenizer.json, or vocab.json and merges.txt",
        fix="put the tokenizer files of Qwen3-VL there, or name their folder",
    )


def _from_tokenizer_json(file: Path) -> Tokenizer:
    tokenizers = _import_tokenizers()
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises nothing narrower
        raise _damaged(file, error) from error


def _from_vocabulary(folder: Path) -> Tokenizer:
    """Byte-level BPE from the two files that every Qwen tokenizer has, with the added tokens beside them."""
    tokenizers = _import_tokenizers()
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    try:
        tokenizer = tokenizers.Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    except Exception as error:  # the package raises nothing narrower
        raise _damaged(folder / "vocab.json", error) from error
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    for token_id, (token, is_special) in sorted(_added_tokens(folder).items()):
        if tokenizer.token_to_id(token) is None:
            tokenizer.add_tokens([tokenizers.AddedToken(token, normalized=False, special=is_special)])
        if tokenizer.token_to_id(token) != token_id:
            raise WeightsError(
                f"id {tokenizer.token_to_id(token)} for {token} in {folder}",
                expected=f"id {token_id}",
                fix="give vocab.json, merges.txt and tokenizer_config.json of one and the same model",
            )
    return tokenizer


def _added_tokens(folder: Path) -> dict[int, tuple[str, bool]]:
    """Id to token and whether it is special, from the file that says so, else Qwen's own."""
    config = folder / "tokenizer_config.json"
    if config.is_file():
        try:
            declared = json.loads(config.read_text(encoding="utf-8")).get("added_tokens_decoder")
            if declared:
                return {int(key): (str(value["content"]), bool(value["special"])) for key, value in declared.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(config, error) from error
    return {_QWEN_FIRST_ADDED_ID + index: (token, True) for index, token in enumerate(_QWEN_ADDED_TOKENS)}


def _damaged(file: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{file} that cannot be read ({error})", expected="a Qwen tokenizer file", fix="download the file again"
    )


def _import_tokenizers():  # noqa: ANN202 - a module
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtraError("tokenizers", "reading prompts") from error
    return tokenizers
