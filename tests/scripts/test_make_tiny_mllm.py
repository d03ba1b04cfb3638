import pytest
import torch
from safetensors.torch import load_file

from loom_core.bundle import BUILT_IN
from loom_core.config.sampling import DEFAULT_NEGATIVE_PROMPT
from loom_core.mllm.encoder import QwenEncoder
from loom_core.mllm.prompts import TASKS
from loom_core.types import Clip, Task

pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("make_tiny_mllm")


@pytest.fixture(scope="module")
def shipped():
    return BUILT_IN / "mllm"


@pytest.fixture(scope="module")
def encoder(shipped):
    return QwenEncoder.load(shipped, num_blocks=4, dtype=torch.float32, device=torch.device("cpu"))


def still(colour):
    return Clip(torch.tensor(colour, dtype=torch.uint8).expand(1, 128, 128, 3), 0.0, is_image=True)


def test_the_script_makes_what_is_shipped_but_for_the_training(script, shipped, tmp_path):
    script.write(tmp_path / "made")
    names = sorted(file.name for file in shipped.iterdir())
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == names
    for name in names:
        if name.endswith(".json"):
            assert (tmp_path / "made" / name).read_bytes() == (shipped / name).read_bytes()
    made, kept = (load_file(folder / "model.safetensors") for folder in (tmp_path / "made", shipped))
    assert {name: weight.shape for name, weight in made.items()} == {
        name: weight.shape for name, weight in kept.items()
    }
    assert [folder.name for folder in tmp_path.iterdir()] == ["made"]  # nothing left beside it


def test_it_is_small(shipped):
    assert sum(file.stat().st_size for file in shipped.iterdir()) < 3_600_000


def test_common_prompts_take_few_tokens(encoder):
    def length(text):
        return len(encoder.tokenizer.encode([text]).input_ids)

    for prompt in TASKS.values():
        assert length(prompt.prefix) <= 8 + 8
    assert length("make the red circle blue") == 5 + 8 + 1
    assert length(DEFAULT_NEGATIVE_PROMPT) < 60


def test_any_text_can_be_read(encoder):
    text = "Ünïcödé 日本 🎈 \t x"
    ids = encoder.tokenizer.encode([text]).input_ids.tolist()
    assert text in encoder.tokenizer._tokenizer.decode(ids, skip_special_tokens=True)


def test_states_depend_on_words_references_and_source(encoder):
    red, blue = still((220, 20, 20)), still((20, 20, 220))

    def last_token(prompt="make it green", reference=red, source=blue):
        encoded = encoder.encode(Task.REFERENCE_EDIT, prompt, negative_prompt="", references=[reference], source=source)
        assert len(encoded.full) == len(encoded.visual) == len(encoded.negative) == 4
        assert all(0.1 < state.std() < 40 for state in encoded.full)
        return encoded.full[-1][-4]  # the last of the prompt's own tokens

    usual = last_token()
    for other in (last_token(prompt="make it brown"), last_token(reference=blue), last_token(source=red)):
        assert (usual - other).norm() > 0.02 * usual.norm()


def test_a_picture_of_128_pixels_is_16_tokens(encoder):
    content = encoder.reader.read([still((1, 2, 3))])
    assert content.images[0].tokens_a_frame == 16


def test_stock_transformers_reads_the_folder(shipped, encoder):
    from transformers import AutoConfig, AutoTokenizer

    assert AutoConfig.from_pretrained(shipped).model_type == "qwen3_vl"
    text = "Edit this video: make it blue"
    words = AutoTokenizer.from_pretrained(shipped)
    full = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
    assert words(full).input_ids == encoder.tokenizer.encode([text]).input_ids.tolist()
