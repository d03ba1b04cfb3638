"""The training adapter on stand-ins for the host: its folders, its memory management, its Cancel button."""

from __future__ import annotations

import types

import pytest
import torch
from PIL import Image


class Interrupted(BaseException):
    """The host's exception for a cancelled prompt, which is no `Exception`."""


class Host:
    """The host's memory management as far as training asks it."""

    InterruptProcessingException = Interrupted

    def __init__(self):
        self.is_cancelled = False
        self.unloaded = 0

    def processing_interrupted(self):
        return self.is_cancelled

    def throw_exception_if_processing_interrupted(self):
        if self.is_cancelled:
            self.is_cancelled = False
            raise Interrupted

    def unload_all_models(self):
        self.unloaded += 1

    def soft_empty_cache(self):
        pass

    def is_oom(self, error):
        return isinstance(error, torch.OutOfMemoryError)

    def get_torch_device(self):
        return torch.device("cpu")

    def get_total_memory(self, device):
        return 17 * 10**9


class Progress:
    """A node's progress: what it was told, and like the host's own it stops a cancelled prompt."""

    def __init__(self, host):
        self.host = host
        self.texts, self.steps, self.pictures = [], [], []
        self.on_step = lambda done: None

    def text(self, text, *, is_frequent=False):
        self.texts.append(text)

    def step(self, done, total, *, picture=None):
        self.on_step(done)
        self.host.throw_exception_if_processing_interrupted()
        self.steps.append(done)
        if picture is not None:
            self.pictures.append(picture)


@pytest.fixture
def host(stand_in, monkeypatch):
    """The host's memory management, where the adapter looks for it."""
    host = Host()
    for name in ("memory", "training.running", "training.watching", "training.recipes"):
        monkeypatch.setattr(stand_in(f"nodes.adapter.{name}"), "model_management", host)
    return host


@pytest.fixture
def progress(host):
    return Progress(host)


@pytest.fixture
def folders(stand_in, monkeypatch, tmp_path):
    """The host's folders: input, output, loras."""
    paths = {name: tmp_path / name for name in ("input", "output", "loras")}
    for path in paths.values():
        path.mkdir()
    module = stand_in("nodes.adapter.files").folder_paths
    monkeypatch.setattr(module, "get_input_directory", lambda: str(paths["input"]), raising=False)
    monkeypatch.setattr(module, "get_output_directory", lambda: str(paths["output"]), raising=False)
    monkeypatch.setattr(module, "get_folder_paths", lambda name: [str(paths[name])])
    monkeypatch.setattr(
        module,
        "get_full_path",
        lambda folder, name: str(paths[folder] / name) if (paths[folder] / name).exists() else None,
        raising=False,
    )
    return types.SimpleNamespace(**paths)


@pytest.fixture
def stills(folders):
    """Two pictures with captions below the input folder."""
    folder = folders.input / "stills"
    folder.mkdir()
    for name in ("one", "two"):
        Image.new("RGB", (128, 128), (128, 0, 32)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text("a scene")
    return folder


@pytest.fixture
def prepared(stand_in, stills, progress):
    """These pictures, looked through."""
    prepare = stand_in("nodes.adapter.training.dataset").prepare
    return prepare(
        "stills", task="auto", resolution="128x128", length=9, max_bad_share=0.0, pictures=2, progress=progress
    )


@pytest.fixture
def request_of(stand_in, prepared):
    """Makes a request of a short run on them, with changes."""

    def make(**changes):
        built_in = stand_in("nodes.adapter.files").BUILT_IN
        values = {
            "name": "run", "dataset": prepared.dataset, "held_out": None, "model_name": built_in,
            "encoder_name": built_in, "vae_name": built_in, "recipe": "auto", "steps": 3, "rank": 4,
            "learning_rate": 0.0, "sample_every": -1, "save_every": 0, "seed": 0,
        }  # fmt: skip
        return stand_in("nodes.adapter.training.recipes").RunRequest(**values | changes)

    return make


@pytest.fixture
def config_of(stand_in, host, request_of):
    """The config of such a run."""
    return lambda **changes: stand_in("nodes.adapter.training.recipes").run_config(request_of(**changes))
