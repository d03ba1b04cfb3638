"""Qwen3-VL of any size as the host's own CLIP: its classes, with the sizes of a `config.json`.

The host knows the released sizes only. The built-in encoder and folders of other sizes are built here from the same
classes, so that loading, offloading, precision and cancelling are the host's business for them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import comfy.sd
import comfy.utils
import torch
from comfy import sd1_clip
from comfy.text_encoders.hunyuan_video import llama_detect
from comfy.text_encoders.llama import Llama2_, Qwen3VL_8BConfig
from comfy.text_encoders.qwen3vl import Qwen3VL, Qwen3VLClipModel, Qwen3VLVisionModel

from ....loom_core.errors import ConfigError
from ....loom_core.mllm.loading import model_key
from ....loom_core.mllm.tokens import PromptTokenizer, load_tokenizer
from .qwen import PAIRING, Pairing, tokenizer_of

KEY = "qwen3vl_loom"
"""Name of the encoder in the host's text encoder model, and of its tokens."""
_HEAD, _POSITIONS = "lm_head.weight", "visual.pos_embed.weight"
_SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
)  # fmt: skip


def make_clip(
    state_dict: dict[str, torch.Tensor], values: Mapping[str, Any], pairing: Pairing, *, disable_dynamic: bool = False
) -> comfy.sd.CLIP:
    """The host's CLIP around a Qwen3-VL.

    Args:
        state_dict: Named in any accepted way; emptied.
        values: Of its `config.json`.
        pairing: What its DiT reads, and its tokenizer.
        disable_dynamic: The host's switch for its plain memory management.

    Raises:
        WeightsError: The tokenizer is missing or damaged.
    """
    tokenizer = load_tokenizer(tokenizer_of(pairing))
    weights = {_host_key(name): state_dict.pop(name) for name in list(state_dict)}
    weights[_POSITIONS] = weights[_POSITIONS].float()
    detected = llama_detect(weights)
    has_head = f"model.{_HEAD}" in weights
    model = partial(
        TextEncoder,
        values={**values, "has_head": has_head, "pad": tokenizer.special.image_pad, "stop": tokenizer.special.im_end},
        pairing=pairing,
        file_dtype=detected.get("dtype_llama"),
        quantisation=detected.get("llama_quantization_metadata"),
    )
    return comfy.sd.CLIP(
        SimpleNamespace(params={}, clip=model, tokenizer=partial(HostTokenizer, tokenizer=tokenizer)),
        parameters=comfy.utils.calculate_parameters(weights),
        state_dict=[weights],
        model_options={},
        disable_dynamic=disable_dynamic,
    )


def _host_key(name: str) -> str:
    """Name in the host's classes of a key on disk."""
    renamed = model_key(name)
    if renamed is None:
        return f"model.{_HEAD}"
    return renamed.replace("language_model.", "model.", 1) if renamed.startswith("language_model.") else renamed


class SizedQwen3VL(Qwen3VL):
    """The host's Qwen3-VL with the sizes of a configuration."""

    def __init__(self, config_dict: Mapping[str, Any], dtype: Any, device: Any, operations: Any) -> None:
        torch.nn.Module.__init__(self)
        config = _text_config(config_dict)
        vision = {**config_dict["vision_config"], "out_hidden_size": config.hidden_size}
        self.num_layers = config.num_hidden_layers
        self.model = Llama2_(config, device=device, dtype=dtype, ops=operations)
        self.visual = Qwen3VLVisionModel(vision, device=device, dtype=dtype, ops=operations)
        # the host interpolates between positions in the precision of their weights
        self.visual.pos_embed = operations.Embedding(
            self.visual.num_position_embeddings, self.visual.hidden_size, device=device, dtype=torch.float32
        )
        self.dtype = dtype


def _text_config(values: Mapping[str, Any]) -> Any:
    """The host's configuration of the language model."""
    text = values["text_config"]
    rope = text.get("rope_parameters") or text["rope_scaling"]  # the first is the name of transformers 5
    config = Qwen3VL_8BConfig(**{name: text[name] for name in _SIZES}, lm_head=values["has_head"])
    config.rope_theta = float(rope.get("rope_theta") or text["rope_theta"])
    config.rope_dims = list(rope["mrope_section"])
    config.head_dim = text["head_dim"]
    config.stop_tokens = [values["stop"]]
    for name in ("merged_qkv", "merged_mlp"):  # files have the parts, whatever the host makes of those it knows
        setattr(config, name, False)
    return config


class SizedClipModel(Qwen3VLClipModel):
    """Tokens in, states out."""

    def __init__(
        self, values: Mapping[str, Any], device: Any = "cpu", dtype: Any = None, model_options: Any = None
    ) -> None:
        sd1_clip.SDClipModel.__init__(
            self,
            device=device,
            layer="hidden",
            layer_idx=-1,
            textmodel_json_config=dict(values),
            dtype=dtype,
            # a token that no text has: the host takes everything behind a padding token for padding
            special_tokens={"pad": values["pad"]},
            layer_norm_hidden_state=False,
            model_class=SizedQwen3VL,
            enable_attention_masks=True,
            return_attention_masks=True,
            model_options=model_options or {},
        )


class TextEncoder(sd1_clip.SD1ClipModel):
    """What the host's CLIP holds.

    Args:
        values: Of the `config.json`, with what the tokenizer and the weights say.
        pairing: What the DiT reads.
        file_dtype: Of the weights; None leaves it to the host.
        quantisation: The host's description of quantised weights.
        device: Where the weights are made.
        dtype: The host's choice.
        model_options: The host's.
    """

    def __init__(
        self,
        *,
        values: Mapping[str, Any],
        pairing: Pairing,
        file_dtype: torch.dtype | None,
        quantisation: Any,
        device: Any = "cpu",
        dtype: Any = None,
        model_options: Any = None,
    ) -> None:
        options = dict(model_options or {})
        if quantisation is not None:
            options["quantization_metadata"] = quantisation
        model = partial(SizedClipModel, values)
        super().__init__(device=device, dtype=file_dtype or dtype, name=KEY, clip_model=model, model_options=options)
        setattr(self, PAIRING, pairing)


class HostTokenizer:
    """Our tokenizer as the host's own text nodes use one; Deepstack Encode writes its prompts itself.

    Args:
        tokenizer: Of the encoder.
        embedding_directory: The host's; there are no embeddings for this encoder.
        tokenizer_data: The host's.
    """

    def __init__(
        self, *, tokenizer: PromptTokenizer, embedding_directory: Any = None, tokenizer_data: Any = None
    ) -> None:
        del embedding_directory, tokenizer_data
        self._tokenizer = tokenizer

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Ids of a text in the chat form, all of weight 1.

        Args:
            text: Verbatim; weights in brackets are letters.
            return_word_ids: Add a number for each word, which the host's interface has; always 0.
            kwargs: Pictures are refused, the rest is for other encoders.

        Raises:
            ConfigError: There are pictures.
        """
        if kwargs.get("images") or kwargs.get("image") is not None:
            raise ConfigError(
                "pictures for the LoomVideo encoder in another node",
                expected="text",
                fix="use LoomVideo Deepstack Encode, which reads pictures",
            )
        ids = self._tokenizer.encode([text]).input_ids.tolist()
        return {KEY: [[(token, 1.0, 0) if return_word_ids else (token, 1.0) for token in ids]]}

    def untokenize(self, token_weight_pair: Any) -> list[Any]:
        """Each pair with the text of its token."""
        return [(pair, self._tokenizer.decode([pair[0]])) for pair in token_weight_pair]

    def decode(self, token_ids: Any, skip_special_tokens: bool = True) -> str:
        """The text of ids."""
        return self._tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens)

    def state_dict(self) -> dict[str, Any]:
        """Nothing of it is in a saved CLIP."""
        return {}
