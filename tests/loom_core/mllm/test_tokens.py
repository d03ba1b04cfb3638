import json
import shutil

import pytest
import torch

from loom_core.errors import WeightsError
from loom_core.mllm.tokens import VisionItem, load_tokenizer, vision_spans
from loom_core.mllm.vision import VisionPatches

tokenizers = pytest.importorskip("tokenizers", reason="prompts are tokenised with the tokenizers package")

HEADER_AND_ENDING = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def picture(tokens: int, frames: int = 1) -> VisionPatches:
    return VisionPatches(torch.zeros(4 * tokens * frames, 1), (frames, 2, 2 * tokens), 2)


@pytest.fixture(scope="module")
def tokenizer(qwen_dir):
    return load_tokenizer(qwen_dir)


def test_golden_ids(golden_dir, golden_case, tokenizer, golden_strings):
    """Text and spans rebuilt from the official helpers' messages."""
    names = [name for name in golden_strings["tasks"] if (golden_dir / f"visual_only_prompt/{name}.json").is_file()]
    assert names
    for name in names:
        _, tensors = golden_case(f"visual_only_prompt/{name}")
        images = iter(tensors.get("image_grid_thw", torch.empty(0, 3)).tolist())
        content = []
        for item in golden_strings["tasks"][name]["messages"][0]["content"]:
            if item["type"] == "text":
                content.append(item["text"])
            elif item["type"] == "image":
                content.append(VisionItem(VisionPatches(torch.zeros(1), tuple(next(images)), 2)))
            else:
                grid = tuple(tensors["video_grid_thw"][0].tolist())
                times = (0.0208, 0.1458)[: grid[0]]
                content.append(VisionItem(VisionPatches(torch.zeros(1), grid, 2), times=times))
        prompt = tokenizer.encode(content)
        assert torch.equal(prompt.input_ids, tensors["input_ids"][0]), name
        assert prompt.is_visual == ("visual_only_input_ids" in tensors)
        if prompt.is_visual:
            visual = tokenizer.visual_only(prompt)
            assert torch.equal(visual.input_ids, tensors["visual_only_input_ids"][0]), name
            assert visual.images is prompt.images


def test_golden_negative_ids(tokenizer, golden_strings):
    for case in golden_strings["negative_prompt"].values():
        text = case["messages"][0]["content"][0]["text"]
        assert tokenizer.encode([text]).input_ids.tolist() == case["ids"]


def test_neighbouring_texts_are_one_text(tokenizer):
    assert torch.equal(
        tokenizer.encode(["Edit this vi", "deo: blue"]).input_ids, tokenizer.encode(["Edit this video: blue"]).input_ids
    )


def test_typed_special_tokens_stay_letters(tokenizer):
    ids = tokenizer.encode(["a <|vision_start|><|image_pad|><|im_end|> b"]).input_ids.tolist()
    special = tokenizer.special
    assert special.vision_start not in ids
    assert special.image_pad not in ids
    assert ids.count(special.im_end) == 1


def test_ids_back_to_text(tokenizer):
    ids = tokenizer.encode(["Edit this video: 蓝色 blue"]).input_ids.tolist()
    assert tokenizer.decode(ids) == HEADER_AND_ENDING.format("Edit this video: 蓝色 blue")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\nEdit this video: 蓝色 blue\nassistant\n"


def test_token_types(tokenizer):
    prompt = tokenizer.encode(["a", VisionItem(picture(3)), VisionItem(picture(2, frames=2), times=(0.0, 0.1))])
    types = tokenizer.token_types(prompt.input_ids)
    assert [(types == kind).sum().item() for kind in (1, 2)] == [3, 4]
    assert len(prompt.images) == len(prompt.videos) == 1


def test_vision_spans_of_text_alone(tokenizer):
    assert vision_spans(tokenizer.encode(["words"]).input_ids.tolist(), special=tokenizer.special) == []


def test_same_ids_from_vocabulary_and_merges(qwen_dir, tokenizer, tmp_path):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(qwen_dir / name, tmp_path / name)
    other = load_tokenizer(tmp_path)
    assert other.special == tokenizer.special
    for text in ("Edit this video: it's 12  blue\n\ncats ", "é e\u0301 画", ""):
        assert torch.equal(other.encode([text]).input_ids, tokenizer.encode([text]).input_ids)


def test_equals_transformers(qwen_dir, tokenizer):
    transformers = pytest.importorskip("transformers", reason="the oracle is transformers' tokenizer")
    oracle = transformers.AutoTokenizer.from_pretrained(qwen_dir)
    for text in ("Edit this video: it's 12  blue\n\ncats ", " é e\u0301 画", "\n\nleading"):
        assert tokenizer.encode([text]).input_ids.tolist() == oracle(HEADER_AND_ENDING.format(text)).input_ids


def test_no_tokenizer(tmp_path):
    with pytest.raises(WeightsError, match="no tokenizer in"):
        load_tokenizer(tmp_path)


def test_damaged_tokenizer(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"tokenizer\.json that cannot be read"):
        load_tokenizer(tmp_path)


def test_tokenizer_of_another_model(tmp_path):
    tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, [])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(WeightsError, match=r"without <\|im_start\|>"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_added_tokens_of_another_vocabulary(qwen_dir, tmp_path):
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(qwen_dir / name, tmp_path / name)
    added = {"500": {"content": "<|im_end|>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    with pytest.raises(WeightsError, match=r"for <\|im_end\|>.*expected id 500"):
        load_tokenizer(tmp_path)
