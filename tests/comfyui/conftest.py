"""One real ComfyUI server for all tests that ask for it; skipped with the reason where there is no checkout."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def _server_module():
    if "loom_test_server" not in sys.modules:
        spec = importlib.util.spec_from_file_location("loom_test_server", HERE / "server.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return sys.modules["loom_test_server"]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory):
    """Starts a ComfyUI with more flags; all are killed at the end."""
    module = _server_module()
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
