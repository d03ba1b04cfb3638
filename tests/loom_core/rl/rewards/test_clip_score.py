"""CLIP and PickScore from a folder: the mean of cosines; without weights one clear error."""

from __future__ import annotations

import json

import pytest
import torch

from loom_core.errors import WeightsError
from loom_core.rl.rewards.clip_score import MEAN, STD, TextImageScore, check_path, clip_pixels, shown_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP of random weights that knows single letters."""
    from transformers import CLIPConfig, CLIPModel

    path = tmp_path_factory.mktemp("clip")
    letters = [*"abcdefghijklmnopqrstuvwxyz."]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    config = CLIPConfig(
        text_config={**small, **ends, "vocab_size": len(words), "max_position_embeddings": 12},
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(path)
    return path


@pytest.fixture
def frames():
    return torch.randint(256, (9, 40, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_scores_are_mean_cosines(folder, frames, make_outcome):
    score = TextImageScore.load(folder, is_pickscore=False)
    found = score([make_outcome(frames), make_outcome(frames[:1]), make_outcome(frames[3:4])])
    assert found.shape == (3,)
    assert float(found.abs().max()) <= 1
    assert len({round(float(value), 6) for value in found}) == 3
    alone = [float(score([make_outcome(frame[None])])) for frame in shown_frames(frames)]
    assert float(found[0]) == pytest.approx(sum(alone) / len(alone), abs=1e-5)

    pickscore = TextImageScore.load(folder, is_pickscore=True)
    factor = float(pickscore.model.logit_scale.exp()) / 26
    torch.testing.assert_close(pickscore([make_outcome(frames)]), factor * found[:1])


def test_without_weights_the_error_says_so(tmp_path):
    with pytest.raises(WeightsError, match="the reward pickscore without weights"):
        check_path(None, is_pickscore=True)
    with pytest.raises(WeightsError, match="no file or folder"):
        TextImageScore.load(tmp_path / "nowhere", is_pickscore=False)
    with pytest.raises(WeightsError, match="which cannot be loaded"):
        TextImageScore.load(tmp_path, is_pickscore=False)


def test_frames_are_cut_as_clip_reads_them():
    frames = torch.zeros(2, 40, 64, 3, dtype=torch.uint8)
    frames[:, :, 12:52] = 255
    found = clip_pixels(frames, side=20)
    assert found.shape == (2, 3, 20, 20)
    white = (1 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(found[0, :, 10, 10], white)
    assert len(shown_frames(torch.zeros(33, 1, 1, 3))) == 5
    assert len(shown_frames(torch.zeros(3, 1, 1, 3))) == 3
