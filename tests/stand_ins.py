"""The node pack without ComfyUI: small stand-ins in place of the host's modules.

They know what a schema is and no more: any other name of the host is a class that does nothing. What the nodes do is
tested inside a real ComfyUI (tests/comfyui); here it is what can be read off them, so that a machine without one
notices a broken schema, a renamed node or input, or a workflow that no longer fits.
"""

# ruff: noqa: A002 - names of arguments are the host's

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACK = "loomvideo_stand_in"
HOST = (
    "comfy", "comfy_api", "comfy_execution", "comfy_extras", "comfyui_version", "execution", "folder_paths",
    "latent_preview", "node_helpers", "server",
)  # fmt: skip


class AnythingMeta(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Anything,), {})


class Anything(metaclass=AnythingMeta):
    """A class of the host that does nothing."""


class StandInModule(types.ModuleType):
    """A module of the host: every name in it is a class that does nothing."""

    __path__: list[str] = []  # noqa: RUF012 - so that it may have submodules

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (Anything,), {})
        setattr(self, name, made)
        return made


class StandInFinder:
    """Finds every module of the host as a stand-in."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HOST:
            return importlib.util.spec_from_loader(name, self)
        return None

    def create_module(self, spec):
        return StandInModule(spec.name)

    def exec_module(self, module):
        pass


@dataclass
class Port:
    """An input or output of a node, as its schema says."""

    kind: str
    id: str = ""
    optional: bool = False
    tooltip: str = ""
    options: list[Any] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def default(self) -> Any:
        return self.more.get("default")


def _port(kind: str):
    def make(id: str = "", *args: Any, optional=False, tooltip="", options=(), **more: Any) -> Port:
        name = id if isinstance(id, str) else ""
        return Port(kind, name or more.get("display_name", ""), optional, tooltip or "", list(options or ()), more)

    return make


def _kind(name: str) -> type:
    return type(name, (), {"Input": staticmethod(_port(name)), "Output": staticmethod(_port(name)), "io_type": name})


@dataclass
class Schema:
    node_id: str
    display_name: str = ""
    category: str = ""
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_output_node: bool = False
    hidden: list[Any] = field(default_factory=list)
    is_experimental: bool = False
    is_deprecated: bool = False
    not_idempotent: bool = False
    has_intermediate_output: bool = False


class ComfyNode:
    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        return cls.define_schema()


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None, **_: Any) -> None:
        self.args, self.ui = args, ui


class Autogrow:
    """A growing group of inputs: `TemplateNames(input, names, min)`."""

    class TemplateNames:
        def __init__(self, input: Port, names: list[str], min: int = 1) -> None:
            self.input, self.names, self.min = input, names, min

    @staticmethod
    def Input(id: str, template: Any, *, optional=False, tooltip="", **more: Any) -> Port:
        return Port("Autogrow", id, optional, tooltip, more={"template": template, **more})


class MultiType:
    @staticmethod
    def Input(id: Any, types: Any = (), *, optional=False, tooltip="", **more: Any) -> Port:
        inner = id if isinstance(id, Port) else Port("", id)
        return Port("MultiType", inner.id, optional or inner.optional, tooltip or inner.tooltip, more={"types": types})


def _latest() -> StandInModule:
    latest = StandInModule("comfy_api.latest")
    io = StandInModule("comfy_api.latest.io")
    for name, value in {
        "Schema": Schema, "ComfyNode": ComfyNode, "NodeOutput": NodeOutput, "Autogrow": Autogrow,
        "MultiType": MultiType, "Custom": _kind,
    }.items():  # fmt: skip
        setattr(io, name, value)
    for name in (
        "Int", "Float", "String", "Boolean", "Combo", "Image", "Mask", "Video", "Audio", "Latent", "Conditioning",
        "Model", "Clip", "Vae", "Guider", "Sampler", "Sigmas", "Noise", "AnyType",
    ):  # fmt: skip
        setattr(io, name, _kind(name))
    latest.io = io
    return latest


def loaded_hosts() -> set[str]:
    """Modules of the host, or of stand-ins, that this process has."""
    return {name for name in sys.modules if name.partition(".")[0] in HOST}


@contextmanager
def stand_ins() -> Iterator[Callable[[str], types.ModuleType]]:
    """Within, the pack can be imported: yields a function that imports a module of it by its name."""
    finder = StandInFinder()
    sys.meta_path.insert(0, finder)
    sys.modules["comfy_api.latest"] = _latest()
    sys.modules["comfyui_version"] = types.ModuleType("comfyui_version")
    sys.modules["comfyui_version"].__version__ = "0.33.0"
    sys.modules["folder_paths"] = StandInModule("folder_paths")
    sys.modules["folder_paths"].get_filename_list = lambda folder: []
    sys.modules["folder_paths"].get_folder_paths = lambda folder: []
    sys.modules["folder_paths"].folder_names_and_paths = {}
    sys.modules["folder_paths"].models_dir = "models of nobody"
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    try:
        spec.loader.exec_module(module)
        yield lambda name: importlib.import_module(f"{PACK}.{name}")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in (*HOST, PACK)]:
            del sys.modules[name]
