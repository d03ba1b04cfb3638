"""What the pre-flight says in Chinese, against the words that Python can say."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from loom_core.planning.plan import DECODE, DENOISE, ENCODE, PROMPT
from loom_core.weights.identify import ModelKind
from loom_core.weights.reading import _FOREIGN

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "web" / "js" / "preflight" / "chinese.js"
NODE = shutil.which("node")
FILES = [*sorted((ROOT / "loom_core").rglob("*.py")), *sorted((ROOT / "nodes").rglob("*.py"))]
CHECKS = [
    *(ROOT / "loom_core" / "doctor" / f"{name}.py" for name in ("files", "media", "memory", "request")),
    *(ROOT / "nodes" / path for path in ("preflight/checks.py", "adapter/preflight.py")),
]
"""All of what the pre-flight itself finds is said here; errors that it passes on come from elsewhere."""
SAYING = re.compile(r"Finding(\.note|\.warning)?|\w+Error|wrong_model|check_sound")
PARTS = ("found", "expected", "fix")
NAMES = re.compile(r"\{(\w+)\}")


def _words(node: ast.expr, function: ast.AST) -> Iterator[str]:
    """The texts that an expression can be, as far as they stand in its function or at the top of its file."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (*_words(node.body, function), *_words(node.orelse, function))
    elif isinstance(node, ast.Name):
        for step in ast.walk(function):
            targets = step.targets if isinstance(step, ast.Assign) else [getattr(step, "target", None)]
            value = getattr(step, "value", None)
            if value is not None and any(isinstance(one, ast.Name) and one.id == node.id for one in targets):
                yield from _words(value, ast.Module([], []))


def _calls(path: Path) -> Iterator[tuple[ast.Call, str, ast.AST]]:
    """Calls in a file, what is called, and the function around each, or the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    around = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function: ast.AST = node
            while function in around and not isinstance(function, ast.FunctionDef):
                function = around[function]
            yield node, ast.unparse(node.func), ast.Module([function, *tree.body], [])


def _said(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(word.value for word in call.keywords if word.arg in PARTS)]


def _sayings() -> Iterator[tuple[Path, ast.Call, ast.AST]]:
    """Findings and errors: all of the checks, and those of other files that another language can have."""
    for path in FILES:
        for call, name, function in _calls(path):
            is_phrase = any(isinstance(node, ast.Call) and ast.unparse(node.func) == "phrase" for node in _said(call))
            if SAYING.fullmatch(name) and (is_phrase or path in CHECKS):
                yield path, call, function


def templates() -> set[str]:
    """Every template of a phrase in the source."""
    found: set[str] = set()
    for path in FILES:
        for call, name, function in _calls(path):
            if name == "phrase":
                found |= set(_words(call.args[0], function))
            elif name == "joined":
                found |= set(_words(call.args[1], function))
    return found


def fixed_words() -> set[str]:
    """Texts without values, which need no template."""
    found = {kind.value for kind in ModelKind} | {PROMPT, ENCODE, DENOISE, DECODE}
    found |= {word for _, *words in _FOREIGN for word in words}
    for _, call, function in _sayings():
        found |= {text for node in _said(call) for text in _words(node, function) if " " in text}
    return found - templates()


@pytest.fixture(scope="module")
def chinese():
    if NODE is None:
        pytest.skip("needs node")
    script = f"import {{ CHINESE }} from {json.dumps(TABLE.as_uri())}; console.log(JSON.stringify(CHINESE))"
    done = subprocess.run([NODE, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_every_template_has_a_chinese_one_with_the_same_values(chinese):
    found = templates()
    assert len(found) > 80
    assert sorted(found - set(chinese)) == []
    wrong = {text for text in found if sorted(set(NAMES.findall(text))) != sorted(set(NAMES.findall(chinese[text])))}
    assert wrong == set()


def test_every_fixed_sentence_has_a_chinese_one(chinese):
    found = fixed_words()
    assert len(found) > 40
    assert sorted(found - set(chinese)) == []


def test_what_the_checks_say_is_never_put_together_by_hand():
    """An f-string would be a sentence that no other language can find."""
    found = [
        f"{path.name}: {ast.unparse(node)}"
        for path, call, _ in _sayings()
        for node in _said(call)
        if isinstance(node, ast.JoinedStr | ast.BinOp)
    ]
    assert found == []


def test_chinese_has_no_word_that_nobody_says(chinese):
    source = "".join(path.read_text(encoding="utf-8") for path in FILES)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a long text stands on several lines
    whole = {text for text in chinese if text.startswith("found {found}")}  # of web/js/preflight/sentences.js
    known = templates() | fixed_words() | whole
    assert [text for text in chinese if text not in known and f'"{text}"' not in source] == []
