"""Scripts are no package: they are loaded by path."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest


@pytest.fixture(scope="session")
def load_script(repo_root):
    """Load a script of `scripts/` by its name."""

    def load(name):
        spec = spec_from_file_location(name, repo_root / "scripts" / f"{name}.py")
        module = module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load
