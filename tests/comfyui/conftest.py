"""One real ComfyUI server for all tests that ask for it; skipped with the reason where there is no checkout."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def _load(name: str):
    """A module beside this file; the tests are no package."""
    full = f"loom_test_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(scope="session")
def graph():
    """Makes a bundled workflow to change, by its name."""
    return _load("graph").Graph


@pytest.fixture(scope="session")
def start_server(tmp_path_factory):
    """Starts a ComfyUI with more flags; all are killed at the end."""
    module = _load("server")
    found = module.checkout_and_python()
    if isinstance(found, str):
        pytest.skip(found)
    started = []

    def start(*flags):
        base = tmp_path_factory.mktemp("comfyui")
        server = module.Server(*found, base, flags=flags, packs={"loom_test_faults": HERE / "faults"})
        started.append(server)
        return server.wait()

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(start_server):
    """The server that most tests share."""
    return start_server()


@pytest.fixture
def short(graph):
    """Makes a bundled workflow that takes two steps, and edits nine frames at most."""

    def make(name, *, steps=2):
        made = graph(name)
        for kind in ("LoomVideoSampler", "LoomVideoScheduler"):
            if made.has(kind):
                made.set(kind, steps=steps)
        if made.has("LoomVideoSourceLatentScaler"):
            made.set("LoomVideoSourceLatentScaler", max_frames=9)
        if made.has("LoomVideoEmptyLatent") and made.inputs("LoomVideoSizeHelper")["length"] == 0:
            made.set("LoomVideoSizeHelper", length=9)
        return made

    return make


@pytest.fixture
def succeed(server):
    """Runs a graph to its end and gives back what it did."""

    def run(graph_, *, on=None, **kwargs):
        done = (on or server).run(graph_.prompt, **kwargs)
        assert done.status == "success", done.message
        return done

    return run


@pytest.fixture
def latents(server):
    """Runs a graph and gives back the latents of its sampler, float32."""
    from safetensors.torch import load_file

    def run(graph_, *, on=None, sampler="LoomVideoSampler"):
        copy = graph_.copy()
        saver = copy.add("SaveLatent", samples=copy.output(sampler), filename_prefix="latents/test")
        done = (on or server).run(copy.prompt)
        assert done.status == "success", done.message
        (entry,) = done.outputs[saver]["latents"]
        path = (on or server).base / "output" / entry["subfolder"] / entry["filename"]
        return load_file(path)["latent_tensor"].float()

    return run
