"""What the pre-flight makes of the host, on stand-ins for it."""

from __future__ import annotations

import os
import shutil
from importlib import metadata

import pytest


@pytest.fixture
def preflight(stand_in):
    return stand_in("nodes.adapter.preflight")


def set_versions(monkeypatch, module, *, found, needed):
    def version(package):
        if found is None:
            raise metadata.PackageNotFoundError(package)
        return found

    monkeypatch.setattr(module.metadata, "version", version)
    monkeypatch.setattr(module, "_needed_frontend", lambda: needed)


@pytest.mark.parametrize(
    ("found", "needed", "level", "command"),
    [
        ("1.49.6", "1.49.6", "note", ""),
        ("1.58.1", "1.49.6", "note", ""),
        ("1.9.0", "1.49.6", "warning", "pip install comfyui-frontend-package==1.49.6"),
        ("1.49.6", "", "note", ""),
        (None, "1.49.6", "note", ""),
    ],
)
def test_the_frontend(preflight, monkeypatch, found, needed, level, command):
    set_versions(monkeypatch, preflight, found=found, needed=needed)
    (finding,) = preflight.frontend_findings()
    assert (finding.level.value, finding.command) == (level, command)


def test_attention(preflight, monkeypatch):
    def attention_sub_quad():
        pass

    def attention_pytorch():
        pass

    monkeypatch.setattr(preflight.attention, "optimized_attention", attention_pytorch, raising=False)
    assert preflight.check_attention().level.value == "note"
    monkeypatch.setattr(preflight.attention, "optimized_attention", attention_sub_quad, raising=False)
    finding = preflight.check_attention()
    assert finding.level.value == "warning" and "--use-pytorch-cross-attention" in finding.fix


def test_memory_counts_what_would_be_unloaded(preflight, monkeypatch):
    class Loaded:
        def __init__(self, device, size, model="there"):
            self.device, self.size, self.model = device, size, model

        def model_loaded_memory(self):
            return len(self.model) and self.size  # the host's fails too where the model is gone

    for name, value in {
        "get_torch_device": lambda: "gpu",
        "get_free_memory": lambda device: {"gpu": 4.0, "cpu": 100.0}[device],
        "is_device_cpu": lambda device: device == "cpu",
        "current_loaded_models": [Loaded("gpu", 7), Loaded("cpu", 50), Loaded("gpu", 9, None)],
    }.items():
        monkeypatch.setattr(preflight.model_management, name, value, raising=False)
    assert preflight.ComfyHost().free_memory() == (11, True)


def test_a_file_is_looked_at_again_when_it_changed(preflight, monkeypatch, tmp_path, small_dit):
    path = tmp_path / "gen_model.safetensors"
    shutil.copy(small_dit, path)
    monkeypatch.setattr(preflight, "dit_path", lambda name: path)
    looks = []
    monkeypatch.setattr(
        preflight,
        "look_at_dit",
        lambda *args, look=preflight.look_at_dit, **kwargs: looks.append(args) or look(*args, **kwargs),
    )
    host = preflight.ComfyHost()
    assert host.dit("x", is_edit=False).config is not None
    host.dit("x", is_edit=False)
    assert len(looks) == 1
    path.write_bytes(b"cut off")
    os.utime(path, ns=(1, 1))
    look = host.dit("x", is_edit=False)
    assert len(looks) == 2 and look.config is None
    assert look.findings[0].found.startswith("gen_model.safetensors") and str(tmp_path) not in look.findings[0].sentence


def test_suggestions(preflight, monkeypatch):
    names = ["built-in: loom-tiny", "sub/Wan2.2_VAE.safetensors", "a.safetensors", "gen_model.pth"]
    monkeypatch.setattr(preflight, "offered", lambda *folders, suffixes=(): names)
    monkeypatch.setattr(preflight, "offered_encoders", lambda: ["Qwen3-VL-8B-Instruct/"])
    host = preflight.ComfyHost()
    assert host.suggestion("vae") == "sub/Wan2.2_VAE.safetensors"
    assert host.suggestion("model") == "gen_model.pth"
    assert host.suggestion("encoder") == "Qwen3-VL-8B-Instruct/"
    names.clear()
    assert host.suggestion("vae") is None
