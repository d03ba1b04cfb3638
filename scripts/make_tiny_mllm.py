"""Makes the untrained MLLM of the built-in tiny model: a real Qwen3-VL, small, with its own tokenizer.

    python scripts/make_tiny_mllm.py --output FOLDER

The weights are drawn from a fixed seed; `train_tiny_mllm.py` trains them. The tokenizer is Qwen's kind (byte-level BPE,
the same cutting into words, the same special tokens), its merges learned on requests of the procedural world and on
sentences about edits and camera work that this script writes. The same versions of the packages give the same files.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from loom_core.config.sampling import DEFAULT_NEGATIVE_PROMPT
from loom_core.data.world.samples import WorldSettings, make_request
from loom_core.mllm.loading import build_empty
from loom_core.mllm.prompts import NEGATIVE_PREFIX, TASKS
from loom_core.mllm.tokens import QWEN_SPLIT
from loom_core.types import Task

SEED = 20240607
VOCABULARY = 1280  # at most; the sentences give a few merges less
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip

WORLD_SENTENCES = 1500
HIDDEN, INTERMEDIATE, LAYERS = 128, 256, 6
VISION_HIDDEN, VISION_DEPTH = 64, 3
PIXELS_A_TOKEN = 32 * 32
MAX_TOKENS_A_PICTURE = 64

COLOURS = (
    "red", "green", "blue", "yellow", "orange", "purple", "pink", "cyan", "white", "black", "grey", "brown",
    "magenta", "teal", "golden", "silver",
)  # fmt: skip
SHAPES = (
    "circle", "square", "triangle", "star", "ring", "diamond", "hexagon", "cross", "heart", "bar", "ball", "cube",
    "disc", "arrow",
)  # fmt: skip
SIZES = (
    "small", "large", "tiny", "big", "medium", "huge",
)  # fmt: skip
MOTIONS = (
    "moves left", "moves right", "moves up", "moves down", "moves slowly to the left", "moves quickly to the right",
    "bounces", "spins", "rotates clockwise", "grows", "shrinks", "orbits the center", "blinks", "stays still",
    "drifts diagonally", "falls", "rises", "zigzags across the frame",
)  # fmt: skip
BACKGROUNDS = (
    "plain", "striped", "checkered", "dotted", "dark", "light", "blurred", "noisy", "bright",
)  # fmt: skip
EDITS = (
    "make the {shape} {colour}", "turn the {colour} {shape} into a {other}", "remove the {shape}",
    "add a {size} {colour} {shape} left of the {other}", "change the background to {background} {colour}",
    "replace the {shape} with the {other} of @Image 1", "give the {shape} the colour of @Image 2",
    "make the {shape} larger", "make the {shape} smaller", "make everything {colour}",
    "swap the {shape} and the {other}",
    "keep the {shape}, change only the {other} to {colour}", "reverse the motion of the {shape}",
    "put the {shape} from @Image 3 behind the {other}", "use the style of @Image 1 for the whole video",
)  # fmt: skip
SCENES = (
    "a cat runs on the lawn", "a dog walks along the beach at sunset", "a person with a hat looks at the camera",
    "a woman in a long dress turns around", "a man rides a bicycle through the city at night",
    "the camera pans slowly over mountains and a river", "cinematic lighting, high quality, detailed, realistic",
    "an old car drives on a road in the rain", "flowers in the wind, shallow depth of field, soft light",
    "make it look like winter, with snow on the ground", "change the weather to rain",
    "in the style of a watercolor painting",
    "blurry, low quality, distorted, static, ugly, worst quality, watermark, text",
    "the same scene, but in black and white", "replace the background with a forest", "remove the text and the logo",
    "zoom in on the face", "slow motion, close up, wide shot, from above, from the side, in the foreground",
)  # fmt: skip
WORDS = (
    "the of and to in is on with it at this that from by as into over under behind between near around through "
    "left right top bottom middle center front back side corner edge up down forward backward inside outside "
    "person people child girl boy hand hair eyes shirt jacket shoes glasses table chair room house window door wall "
    "street tree grass water sky cloud sun moon fire snow rain sand stone wood metal glass paper fruit apple flower "
    "bird fish horse boat train plane robot dragon castle garden kitchen office park lake ocean island desert "
    "make turn change replace remove add put keep give swap move use paint draw show hide open close start stop "
    "bright dark soft warm cold old new young long short thick thin round shiny transparent colorful beautiful "
    "one two three four five six seven eight nine ten first second third last every all both each other same"
)


def sentences() -> Iterator[str]:
    """The text that the merges are learned on."""
    prefixes = [prompt.prefix for prompt in TASKS.values()]
    pairs = list(itertools.product(COLOURS, SHAPES))
    for number, (colour, shape) in enumerate(pairs):
        other = SHAPES[(number // 3 + 1) % len(SHAPES)]
        size, motion = SIZES[number % len(SIZES)], MOTIONS[number % len(MOTIONS)]
        background = BACKGROUNDS[number % len(BACKGROUNDS)]
        second = COLOURS[(number + 5) % len(COLOURS)]
        caption = f"a {size} {colour} {shape} {motion} on a {background} {second} background"
        edit = EDITS[number % len(EDITS)].format(
            shape=shape, colour=colour, other=other, size=size, background=background
        )
        yield f"user\n{prefixes[number % len(prefixes)]}{caption}"
        yield f"{prefixes[(number + 2) % len(prefixes)]}{edit}, then a {second} {other} {motion}"
        yield f"<{number % 30 / 10:.1f} seconds>"
    settings = WorldSettings(seed=SEED, tasks=dict.fromkeys((task.value for task in Task), 1.0))
    for index in range(WORLD_SENTENCES):
        request, _ = make_request(index, settings)
        yield f"{request.task.prefix}{request.instruction}"
    for scene in SCENES * 8:
        yield f"assistant\n {scene}, {scene}"
    yield from [" " + WORDS] * 8
    yield from [NEGATIVE_PREFIX + DEFAULT_NEGATIVE_PROMPT] * 6


def make_tokenizer() -> Tokenizer:
    """A byte-level BPE of Qwen's kind over `sentences`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def make_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """`config.json`: the architecture of Qwen3-VL at toy size."""
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "dtype": "bfloat16",
        "image_token_id": tokenizer.token_to_id("<|image_pad|>"),
        "video_token_id": tokenizer.token_to_id("<|video_pad|>"),
        "vision_start_token_id": tokenizer.token_to_id("<|vision_start|>"),
        "vision_end_token_id": tokenizer.token_to_id("<|vision_end|>"),
        "tie_word_embeddings": True,
        "text_config": {
            "model_type": "qwen3_vl_text",
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "hidden_act": "silu",
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "attention_bias": False,
            "rope_theta": 10_000.0,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [6, 5, 5], "rope_type": "default"},
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "depth": VISION_DEPTH,
            "hidden_size": VISION_HIDDEN,
            "intermediate_size": 128,
            "num_heads": 2,
            "hidden_act": "gelu_pytorch_tanh",
            "in_channels": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": HIDDEN,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1, 2],
        },
    }


def make_preprocessors() -> dict[str, dict[str, Any]]:
    """Processor files: no picture smaller than one token, none larger than 64."""
    shared = {
        "patch_size": 16,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    largest = MAX_TOKENS_A_PICTURE * PIXELS_A_TOKEN
    return {
        "preprocessor_config.json": {
            "image_processor_type": "Qwen2VLImageProcessorFast",
            "size": {"shortest_edge": PIXELS_A_TOKEN, "longest_edge": largest},
            **shared,
        },
        "video_preprocessor_config.json": {
            "video_processor_type": "Qwen3VLVideoProcessor",
            "size": {"shortest_edge": 2 * PIXELS_A_TOKEN, "longest_edge": 4 * largest},
            **shared,
        },
    }


EMBEDDING_SCALE = 0.2
"""Standard deviation of embeddings, which also make the words' logits."""
RESIDUAL_OUTPUTS = (
    (r"\.(o_proj|down_proj)\.weight$", (2 * LAYERS) ** -0.5),
    (r"\.blocks\..*\.(attn\.proj|linear_fc2)\.weight$", (2 * VISION_DEPTH) ** -0.5),
)
"""Pattern of a matrix's name -> its size beside that which keeps unit variance, as the residual stream sums them up."""


def weight_scale(name: str, weight: Tensor) -> float:
    """Standard deviation of a weight matrix: keeps every stream near unit size through the layers."""
    if name.endswith(("embed_tokens.weight", "pos_embed.weight")):
        return EMBEDDING_SCALE
    gains = [gain for pattern, gain in RESIDUAL_OUTPUTS if re.search(pattern, name)]
    return weight[0].numel() ** -0.5 * math.prod(gains)


def make_weights(config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights by Hugging Face's names, bfloat16: norms one, biases zero, matrices normal."""
    generator = torch.Generator().manual_seed(SEED)
    weights: dict[str, Tensor] = {}
    for name, weight in sorted(build_empty(config).named_parameters()):  # the order of drawing must not depend on it
        if name.endswith("bias"):
            value = torch.zeros(weight.shape)
        elif weight.ndim == 1:
            value = torch.ones(weight.shape)
        else:
            value = torch.randn(weight.shape, generator=generator) * weight_scale(name, weight)
        weights[f"model.{name}"] = value.to(torch.bfloat16)
    return weights


def write(folder: Path) -> None:
    """Write all files; each appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    config = make_config(tokenizer)
    tokenizer_config = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    files = {"config.json": config, "tokenizer_config.json": tokenizer_config, **make_preprocessors()}
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        draft = Path(scratch)
        for name, values in files.items():
            (draft / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        tokenizer.save(str(draft / "tokenizer.json"))
        save_file(make_weights(config), draft / "model.safetensors", metadata={"format": "pt"})
        (draft / "model.safetensors").chmod(0o644)
        for file in draft.iterdir():
            os.replace(file, folder / file.name)  # noqa: PTH105 - the same call on every system


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    write(parser.parse_args().output)


if __name__ == "__main__":
    main()
