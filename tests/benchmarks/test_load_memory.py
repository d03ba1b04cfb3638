import pytest
import torch
from safetensors.torch import save_file

from benchmarks import load_memory


@pytest.fixture
def files(monkeypatch, tmp_path, small_dit):
    from loom_core.weights.loading import load_dit

    model = load_dit(small_dit)
    monkeypatch.setattr(load_memory, "CONFIG", model.config)
    monkeypatch.setattr(load_memory, "DTYPE", torch.float32)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    metadata = {"format": "loomvideo-dit", "config": model.config.to_json()}
    save_file(state, tmp_path / "a.safetensors", metadata=metadata)
    torch.save(state, tmp_path / "a.pth")
    return state, tmp_path


@pytest.mark.parametrize(
    ("way", "name"),
    [
        ("load_dit", "a.safetensors"),
        ("load_dit", "a.pth"),
        ("load_unchecked", "a.safetensors"),
        ("load_file", "a.safetensors"),
        ("torch_load", "a.pth"),
    ],
)
def test_every_way_gives_the_same_weights(files, way, name):
    state, folder = files
    loaded = load_memory.WAYS[way](folder / name).state_dict()
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_status_is_read_in_bytes():
    text = "Name:\tpython\nVmHWM:\t    2172 kB\nVmRSS:\t 10 kB\nThreads:\t1\nRssAnon:\t       4 kB\n\n"
    assert load_memory.parse_status(text) == {"VmHWM": 2172 * 1024, "VmRSS": 10240, "RssAnon": 4096}


@pytest.mark.skipif(not load_memory.STATUS.exists(), reason="this system has no /proc/self/status")
def test_memory_of_this_process(files):
    _, folder = files
    found = load_memory.measure_here("load_file", folder / "a.safetensors")
    assert found.peak_used >= found.peak
    assert found.seconds > 0
