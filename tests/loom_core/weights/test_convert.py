"""Conversion: the same weights in one file that says where it comes from, in little memory, or nothing at all."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
import torch

from loom_core.config.model import DiTConfig
from loom_core.errors import ConfigError, WeightsError
from loom_core.models.quantised import QuantisedLinear
from loom_core.types import Condition
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.identify import ModelKind
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import MATRICES, SCHEMES
from loom_core.weights.reading import open_checkpoint


@pytest.fixture
def target(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "dit.safetensors"


def assert_nothing_written(target):
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("source", ["gen_model.pth", "gen_model_mixed_dtype.pth", "full_model.pt", "ckpt"])
def test_the_converted_file_has_the_same_weights(weights_dir, load_check, target, source):
    report = convert_checkpoint(weights_dir / source, target, config=load_check[1]["dit_config"])
    original, converted = open_checkpoint(weights_dir / source).native(), open_checkpoint(target)
    assert list(target.parent.iterdir()) == [target]
    assert dict(converted.infos) == dict(original.infos)
    assert all(torch.equal(converted.tensor(name), original.tensor(name)) for name in original)
    assert report.num_tensors == 72
    assert len(report.dropped) == 4
    assert report.kind is ModelKind.LOOMVIDEO


def test_the_converted_file_needs_no_configuration(weights_dir, load_check, target):
    config = load_check[1]["dit_config"]
    convert_checkpoint(weights_dir / "gen_model.pth", target, config=config)
    assert load_dit(target).config == load_dit(weights_dir / "gen_model.pth", config=config).config


def test_metadata_says_where_it_comes_from(weights_dir, load_check, target):
    source = weights_dir / "ckpt/latest/gen_model.pth"
    report = convert_checkpoint(source, target, config=load_check[1]["dit_config"])
    metadata = open_checkpoint(target).metadata
    assert metadata["format"] == "loomvideo-dit"
    assert metadata["format_version"] == "1"
    assert metadata["source_name"] == "gen_model.pth"
    assert metadata["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert metadata["content_sha256"] == report.content_sha256
    assert metadata["dtype"] == "bfloat16"
    assert metadata["torch_version"] == torch.__version__
    assert DiTConfig(**json.loads(metadata["config"])) == report.config


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_tensor_gets_the_dtype(weights_dir, load_check, target, dtype):
    source = weights_dir / "gen_model_mixed_dtype.pth"
    convert_checkpoint(source, target, dtype=dtype, config=load_check[1]["dit_config"])
    original, converted = open_checkpoint(source).native(), open_checkpoint(target)
    assert set(converted.dtypes) == {dtype}
    assert all(torch.equal(converted.tensor(name), original.tensor(name).to(dtype)) for name in original)


def test_the_same_input_gives_the_same_bytes(golden_dir, target):
    source = golden_dir / "models/tiny"
    convert_checkpoint(source, target)
    first = target.read_bytes()
    convert_checkpoint(source, target, overwrite=True)
    assert target.read_bytes() == first


def test_converting_twice_changes_no_weight(golden_dir, target):
    first = convert_checkpoint(golden_dir / "models/tiny", target)
    again = convert_checkpoint(target, target.with_name("again.safetensors"))
    assert again.content_sha256 == first.content_sha256
    assert again.config == first.config


def test_a_file_can_be_converted_in_its_own_place(golden_dir, target):
    first = convert_checkpoint(golden_dir / "models/tiny", target)
    assert convert_checkpoint(target, target, overwrite=True).content_sha256 == first.content_sha256


def test_progress_ends_at_the_whole(golden_dir, target):
    reports = []
    convert_checkpoint(golden_dir / "models/tiny", target, progress=lambda done, total: reports.append((done, total)))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert reports[-1][0] == reports[-1][1]
    assert len(reports) == 100  # the source's hash, then its tensors


def test_what_the_progress_raises_ends_the_conversion(golden_dir, target):
    def cancel(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(golden_dir / "models/tiny", target, progress=cancel)
    assert list(target.parent.iterdir()) == []


def test_nothing_is_overwritten_unasked(golden_dir, target):
    target.write_text("precious")
    with pytest.raises(ConfigError, match="use --overwrite"):
        convert_checkpoint(golden_dir / "models/tiny", target)
    assert target.read_text() == "precious"


def test_the_target_is_checked_before_the_source_is_read(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        convert_checkpoint(tmp_path / "nothing.pth", tmp_path / "nowhere" / "x.safetensors")
    with pytest.raises(ConfigError, match="the folder"):
        convert_checkpoint(tmp_path / "nothing.pth", tmp_path)
    with pytest.raises(ConfigError, match=r"one in \.gguf"):
        convert_checkpoint(tmp_path / "nothing.pth", tmp_path / "x.safetensors", scheme=SCHEMES["gguf-q8_0"])
    with pytest.raises(ConfigError, match=r"one in \.safetensors"):
        convert_checkpoint(tmp_path / "nothing.pth", tmp_path / "x.GGUF", scheme=SCHEMES["fp8"])


@pytest.mark.parametrize(
    ("path", "found"),
    [("models/tiny/vae", "a Wan 2.2 VAE"), ("models/tiny/qwen", "a Qwen3-VL"), ("nothing", "no file")],
)
def test_other_models_are_refused(golden_dir, target, path, found):
    with pytest.raises(WeightsError, match=found):
        convert_checkpoint(golden_dir / path, target)
    assert_nothing_written(target)


def write_source(path, state):
    torch.save(state, path)
    return path


def test_incomplete_weights_are_refused(make_state, as_official, tmp_path, target):
    state = as_official(make_state())
    del state["blocks.1.ffn.net.2.bias"]
    with pytest.raises(WeightsError, match=r"1 missing: blocks\.1\.ffn\.net\.2\.bias"):
        convert_checkpoint(write_source(tmp_path / "x.pth", state), target)
    assert_nothing_written(target)


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), None), (1e6, torch.float16)])
def test_numbers_that_are_not_finite_are_refused(make_state, tmp_path, target, value, dtype):
    state = make_state()
    state["head.head.bias"][2] = value
    with pytest.raises(WeightsError, match=r"'head\.head\.bias' has 1 NaN or inf"):
        convert_checkpoint(write_source(tmp_path / "x.pth", state), target, dtype=dtype)
    assert_nothing_written(target)


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [
        ({"has_source": False}, ModelKind.LOOMVIDEO_STAGE_1),
        ({"has_source": False, "has_projector": False}, ModelKind.WAN_22_5B),
    ],
)
def test_earlier_stages_convert_as_what_they_are(make_state, tmp_path, target, overrides, kind):
    report = convert_checkpoint(write_source(tmp_path / "x.pth", make_state(**overrides)), target)
    assert report.kind is kind
    assert open_checkpoint(target).kind is kind


# --- memory

CONVERT = """
from loom_core.weights.convert import convert_checkpoint
def act(path, target, dtype):
    convert_checkpoint(path, target, dtype=getattr(torch, dtype, None))
"""


@pytest.mark.parametrize(("form", "dtype"), [("pth", "keep"), ("safetensors", "bfloat16")])
def test_memory_does_not_grow_with_the_file(large_files, peak_memory, target, form, dtype):
    path = large_files[form]
    peak = peak_memory(CONVERT, path, target, dtype)
    target.unlink()
    assert peak < 0.3 * path.stat().st_size


def test_a_full_disk_leaves_nothing(large_files, target, repo_root):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**7, 10**7)); "
    command = (
        "import sys; from loom_core.cli.exits import run; from loom_core.cli.convert import main; sys.exit(run(main))"
    )
    arguments = [sys.executable, "-c", limit + command, str(large_files["pth"]), str(target)]
    result = subprocess.run(arguments, cwd=repo_root, capture_output=True, text=True, check=False)
    assert result.returncode == 6
    assert "no space left" in result.stderr
    assert_nothing_written(target)


@pytest.mark.parametrize(("name", "limit"), [("fp8", 0.05), ("int8", 0.02)])
def test_a_quantised_model_is_nearly_the_same_in_half_the_bytes(golden_dir, target, name, limit):
    report = convert_checkpoint(golden_dir / "models/tiny", target, scheme=SCHEMES[name])
    made, exact = (load_dit(path, dtype=torch.float32) for path in (target, golden_dir / "models/tiny"))
    quantised = {name for name, layer in made.named_modules() if isinstance(layer, QuantisedLinear)}
    assert quantised == {name.removesuffix(".weight") for name in exact.state_dict() if MATRICES.fullmatch(name)}
    assert all(made.get_submodule(name).weight.element_size() == 1 for name in quantised)
    assert list(target.parent.iterdir()) == [target]
    assert report.num_tensors == len(open_checkpoint(target)) == len(exact.state_dict()) + 2 * len(quantised)
    config = exact.config
    states = torch.randn(config.num_layers, 7, config.mllm_dim, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 48, 2, 4, 6, generator=torch.Generator().manual_seed(2))
    found, wanted = (
        model(noise, torch.tensor([700]), model.prepare([Condition(states.unbind(0))], noise))
        for model in (made, exact)
    )
    assert 1e-4 < float((found - wanted).norm() / wanted.norm()) < limit


def test_what_is_not_quantised_keeps_its_numbers(golden_dir, target):
    source = golden_dir / "models/tiny"
    convert_checkpoint(source, target, scheme=SCHEMES["fp8"])
    original, converted = open_checkpoint(source).native(), open_checkpoint(target)
    rest = [name for name in original if not MATRICES.fullmatch(name)]
    assert all(torch.equal(converted.tensor(name), original.tensor(name)) for name in rest)
    convert_checkpoint(source, target, scheme=SCHEMES["fp8"], dtype=torch.float32, overwrite=True)
    assert {open_checkpoint(target).infos[name].dtype for name in rest} == {torch.float32}


def test_quantised_weights_are_not_converted_again(golden_dir, target, tmp_path):
    convert_checkpoint(golden_dir / "models/tiny", target, scheme=SCHEMES["fp8"])
    with pytest.raises(WeightsError, match=r"quantised \(float8_e4m3fn\); expected weights in bf16"):
        convert_checkpoint(target, tmp_path / "again.safetensors", dtype=torch.bfloat16)
    assert not (tmp_path / "again.safetensors").exists()


def test_progress_of_quantising_ends_at_its_total(golden_dir, target):
    told = []
    convert_checkpoint(
        golden_dir / "models/tiny", target, scheme=SCHEMES["int8"], progress=lambda *step: told.append(step)
    )
    assert told[-1][0] == told[-1][1]
    assert all(done <= total for done, total in told)
