"""Rules of the whole tree that no single test would notice breaking; read off the source, without importing it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "loom_core"
FILES = sorted(PACKAGE.rglob("*.py"))
PACK = ROOT / "nodes"
NODE_FILES = [ROOT / "__init__.py", *sorted(PACK.rglob("*.py"))]

IMPORT_ORDER = (
    "__version__",
    "phrases",
    "errors",
    "atomic",
    "geometry",
    "types",
    "protocols",
    "config",
    "offload",
    "models",
    "distributed",
    "weights",
    "lora",
    "mllm",
    "vae",
    "sampling",
    "media",
    "planning",
    "request",
    "bundle",
    "compute",
    "provenance",
    "pipeline",
    "output",
    "data",
    "training",
    "evaluation",
    "rl",
    "parity",
    "doctor",
    "cli",
)
"""A folder or file at the top level imports only what stands above it."""

HOST = {
    "comfy", "comfy_api", "comfy_config", "comfy_execution", "comfy_extras", "comfyui_version", "execution",
    "folder_paths", "latent_preview", "node_helpers", "nodes", "server",
}  # fmt: skip
"""Modules of ComfyUI, which only the node pack may import."""

HEAVY = {"transformers", "diffusers", "av", "PIL", "tokenizers", "gguf"}
"""Packages that are imported by the function that needs them."""

LAYERS = {"Linear", "Conv3d", "LayerNorm", "RMSNorm"}
"""Layers that models take from their `operations`, so that a host can put its own there."""

MOST_LINES_OF_FILE = 400
MOST_LINES_OF_FUNCTION = 60

WITHOUT_OWN_TEST: dict[str, str] = {}
"""File below loom_core/<folder>/ -> why it needs no test of its own (only data, only glue)."""

MACHINE_PATH = re.compile(r"(?<![\w.~}/-])/(?:home|root|Users|work|tmp|mnt|media|opt|srv|var)/\w|\b[A-Z]:\\\\?\w")
"""An absolute path that means something on one machine alone."""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(path: Path, *, at_import_only: bool = False) -> Iterator[tuple[int, str, int]]:
    """(relative level, dotted module, line) of every import; `at_import_only` leaves out what waits for a call."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((node.level, module, node.lineno) for module in modules)
        is_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(node)
        if not (at_import_only and is_later):
            waiting += ast.iter_child_nodes(node)


def part_of(path: Path) -> str:
    """The folder or file at the top level of loom_core that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_part(path: Path, level: int, module: str) -> str | None:
    """The part of loom_core that an import reaches; None for another package."""
    if level == 0:
        first, _, rest = module.partition(".")
        return rest.partition(".")[0] if first == PACKAGE.name else None
    folder = path.relative_to(PACKAGE).parent.parts
    return (*folder[: len(folder) - level + 1], *module.split("."))[0]


def tracked_files() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git to know which files belong to the project")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_of_comfyui(path):
    assert [entry for entry in imports(path) if entry[0] == 0 and entry[1].partition(".")[0] in HOST] == []


@pytest.mark.parametrize("path", NODE_FILES, ids=named)
def test_only_the_adapter_knows_comfyui(path):
    """Node files may import its node interface, nothing more."""
    used = {module.partition(".")[0] for level, module, _ in imports(path) if level == 0} & HOST
    assert PACK / "adapter" in path.parents or used <= {"comfy_api"}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_imports_point_upwards(path):
    if path == PACKAGE / "__init__.py":
        assert list(imports(path)) == []
        return
    own = IMPORT_ORDER.index(part_of(path))
    below = [
        f"line {line}: {part}"
        for level, module, line in imports(path)
        if (part := imported_part(path, level, module)) is not None and IMPORT_ORDER.index(part) > own
    ]
    assert below == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_imports_inside_are_relative(path):
    """So that it also works as a folder inside a node pack."""
    assert [line for level, module, line in imports(path) if level == 0 and module.split(".")[0] == "loom_core"] == []


def test_the_order_names_every_part():
    parts = {part_of(path) for path in FILES} - {"__init__"} | {"__version__"}
    assert parts == set(IMPORT_ORDER)


@pytest.mark.parametrize("path", FILES + NODE_FILES, ids=named)
def test_only_commands_print(path):
    calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    prints = [func.lineno for func in calls if isinstance(func, ast.Name) and func.id == "print"]
    assert path.parent == PACKAGE / "cli" or prints == []


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").glob("*.py")), ids=named)
def test_models_take_their_layers_from_operations(path):
    owners = ("nn", "torch.nn")
    used = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and node.attr in LAYERS and ast.unparse(node.value) in owners
    ]
    used += [
        f"line {node.lineno}: {alias.name}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch.nn")
        for alias in node.names
        if alias.name in LAYERS
    ]
    assert bool(used) == (path.name == "operations.py"), used


@pytest.mark.parametrize("path", FILES + NODE_FILES, ids=named)
def test_heavy_packages_wait_until_they_are_needed(path):
    entries = imports(path, at_import_only=True)
    assert [entry for entry in entries if entry[0] == 0 and entry[1].partition(".")[0] in HEAVY] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=named)
def test_every_file_has_its_test(path):
    relative = path.relative_to(PACKAGE)
    own = ROOT / "tests" / "loom_core" / relative.parent / f"test_{relative.name}"
    excepted = relative.as_posix() in WITHOUT_OWN_TEST
    if len(relative.parts) > 1:
        assert own.is_file() != excepted, f"{named(own)}: write it, or say in WITHOUT_OWN_TEST why not, not both"


def test_exceptions_exist_and_are_few():
    assert all((PACKAGE / name).is_file() and reason for name, reason in WITHOUT_OWN_TEST.items())
    assert len(WITHOUT_OWN_TEST) <= 5


def test_every_test_has_its_file():
    """A test of a file that moved or went would never be missed otherwise."""
    tests = (ROOT / "tests" / "loom_core").rglob("test_*.py")
    mirrored = (PACKAGE / test.relative_to(ROOT / "tests" / "loom_core").with_name(test.name[5:]) for test in tests)
    assert [named(path) for path in mirrored if not path.is_file()] == []


@pytest.mark.parametrize("path", FILES + NODE_FILES, ids=named)
def test_files_and_functions_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES_OF_FILE
    functions = (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_FUNCTION} == {}


def test_no_text_names_a_machines_path():
    """Paths under /proc and /sys are the system's own and fine; somebody's folders are not."""
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not text
        found += [
            f"{named(path)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), start=1)
            if MACHINE_PATH.search(line) and path != Path(__file__)
        ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("cd /home/" + "somebody", True),
        ('"/tmp/' + 'x.py"', True),
        ("C:\\" + "Users", True),
        ("https://example.org/home/page", False),
        ("dist/var/x", False),
        ("~/tmp/x", False),
        ("/proc/self/maps", False),
    ],
)
def test_machine_paths_are_told_from_others(text, is_one):
    assert bool(MACHINE_PATH.search(text)) == is_one


def test_importing_the_library_imports_nothing_heavy():
    """What is asserted of the source above also holds of what it imports in turn."""
    modules = ("loom_core", "loom_core.pipeline", "loom_core.cli.generate")
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found = sorted({{'transformers', 'diffusers', 'av'}} & set(sys.modules))\n"
        "    assert not found, (name, found)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
