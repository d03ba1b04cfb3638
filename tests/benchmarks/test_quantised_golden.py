"""What is compared with recorded answers is what the recorded weights answer, and each form is on its way there."""

import pytest
import torch

from benchmarks.quantised_golden import KEY, errors, states, table, velocity
from benchmarks.reference import relative_error
from loom_core.mllm.encoder import QwenEncoder
from loom_core.parity.cases import Case, load_model
from loom_core.weights.quantise import SCHEMES

MODEL = "models/tiny"


@pytest.fixture(autouse=True)
def gguf():
    return pytest.importorskip("gguf", reason="two of the forms are GGUF's")


def test_weights_as_they_are_give_the_recorded_velocity(golden_dir):
    case = Case(golden_dir, "dit_forward", "t2v")
    assert relative_error(velocity(case, load_model(golden_dir, "tiny")), case.tensors["velocity"]) < 1e-5


def test_weights_as_they_are_give_the_recorded_states(golden_dir):
    pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")
    case = Case(golden_dir, "deepstack", "image_text")
    encoder = QwenEncoder.load(
        golden_dir / MODEL / "qwen", num_blocks=5, dtype=torch.float32, device=torch.device("cpu")
    )
    recorded = torch.cat([state.flatten() for state in case.numbered("hidden_states")])
    assert relative_error(states(case, encoder), recorded) < 1e-5


def test_fewer_bits_lose_more(golden_dir):
    case = Case(golden_dir, "dit_forward", "t2v")
    found = errors(golden_dir / MODEL / "gen_model.safetensors", [case], velocity)
    lost = {way: by_case["t2v"] for way, by_case in found.items()}
    assert 1e-3 < lost["gguf-q8_0"] < lost["fp8"] < lost["gguf-q4_0"] < 0.2
    assert 1e-3 < lost["computed in bf16"] < 1.5e-2


def test_the_table_has_a_row_a_case():
    ways = [name.replace("-", "_") for name in SCHEMES]
    results = {
        f"{KEY}{case}_{way}": {"first": {"value": 0.01}, "second": {"value": number / 100}}
        for case in ("dit_forward_one", "deepstack_two")
        for number, way in enumerate(ways, start=2)
    }
    assert table(results | {"other_fp8": {}}).splitlines()[2:] == [
        "| dit_forward_one | 1 % | 2 % | 3 % | 4 % | 5 % |",
        "| deepstack_two | 1 % | 2 % | 3 % | 4 % | 5 % |",
    ]
    results[f"{KEY}dit_forward_one_int8_torchao"] = {"first": {"value": 0.01}, "second": {"value": 0.06}}
    assert table(results).splitlines()[2:] == [
        "| dit_forward_one | 1 % | 2 % | 3 % | 4 % | 5 % | 6 % |",
        "| deepstack_two | 1 % | 2 % | 3 % | 4 % | 5 % | - |",
    ]
