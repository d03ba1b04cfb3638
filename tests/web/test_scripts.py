"""The scripts of `web/js` without a browser: their pure parts under `node --test`, and their types by TypeScript."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parents[1] / "web" / "js"
NODE = shutil.which("node")
LOCALES = HERE.parents[1] / "locales"
MOST_LINES = 400


def test_imports_are_files_or_the_hosts_two_modules():
    """A path that a browser cannot find takes the whole feature away, without a word to the user."""
    found = []
    for script in SCRIPTS.rglob("*.js"):
        for path in re.findall(r"""(?:from|import)\s*\(?\s*["']([^"':]+)["']""", script.read_text(encoding="utf-8")):
            # /extensions/<pack>/js/... is served beside /scripts/
            depth = len(script.relative_to(SCRIPTS).parts)
            host = [f"{'../' * (depth + 2)}scripts/{name}.js" for name in ("app", "api")]
            if path not in host and not (script.parent / path).is_file():
                found.append(f"{script.relative_to(SCRIPTS)}: {path}")
    assert found == []


def test_every_panel_named_in_the_entry_is_there():
    entry = (SCRIPTS / "loomvideo.js").read_text(encoding="utf-8")
    paths = re.findall(r'"(\./[^"]+\.js)"', entry)
    assert paths, "the entry names no module"
    assert [path for path in paths if not (SCRIPTS / path).is_file()] == []


def test_every_stylesheet_is_loaded():
    named = (SCRIPTS / "shared" / "style.js").read_text(encoding="utf-8")
    folders = {path.parent.name for path in SCRIPTS.glob("*/*.css")}
    assert folders
    assert {folder for folder in folders if f'"{folder}"' not in named} == set()
    assert [path for path in SCRIPTS.glob("*/*.css") if path.stem != path.parent.name] == []


def test_a_name_means_one_thing():
    """What modules export, but for the names that the entry calls."""
    places: dict[str, list[str]] = {}
    for script in SCRIPTS.rglob("*.js"):
        for name in re.findall(
            r"^export (?:async )?(?:function|class|const) (\w+)", script.read_text(encoding="utf-8"), re.M
        ):
            places.setdefault(name, []).append(str(script.relative_to(SCRIPTS)))
    assert places
    assert {name: paths for name, paths in places.items() if len(paths) > 1 and name not in ("attach", "start")} == {}


def test_settings_are_named_in_both_languages():
    """ComfyUI looks for the words of a setting in locales/, by its id."""
    scripts = "".join(path.read_text(encoding="utf-8") for path in SCRIPTS.rglob("*.js"))
    ids = {found.replace(".", "_") for found in re.findall(r'const SETTING = "([\w.]+)"', scripts)}
    words = {
        language: json.loads((LOCALES / language / "settings.json").read_text(encoding="utf-8"))
        for language in ("en", "zh")
    }
    assert ids
    assert set(words["en"]) == set(words["zh"]) == ids
    assert {key: set(texts) for key, texts in words["en"].items()} == {
        key: set(texts) for key, texts in words["zh"].items()
    }
    assert [text for texts in words["en"].values() for text in texts.values() if f'"{text}"' not in scripts] == []
    assert all(re.search("[\u4e00-\u9fff]", text) for texts in words["zh"].values() for text in texts.values())


def test_scripts_are_short():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SCRIPTS.rglob("*.js")}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_pure_parts():
    files = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    assert files
    done = subprocess.run([NODE, "--test", *files], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_types():
    compiler = HERE / "node_modules" / "typescript" / "bin" / "tsc"
    if NODE is None or not compiler.is_file():
        pytest.skip("needs node and `npm install` in tests/web")
    command = [NODE, str(compiler), "-p", str(HERE / "jsconfig.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:]
