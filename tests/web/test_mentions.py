"""The browser and the server find the same mentions in a prompt."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from loom_core.mllm.prompts import mentioned_references

MODULE = Path(__file__).resolve().parents[2] / "web" / "js" / "prompt" / "mentions.js"
PROMPTS = [
    "Put @Image 1 on @image2, then @IMAGE  10.",
    "a@Image 1 你@Image 2 _@image 3 @Images 4 @Image é@Image 5 9@Image 6",
    "，@Image 2。\n@Image\n3 \t@image\u00a07 @Image 007 @Image 1@Image 2",
    "@Image １２, @image３ @Image ١",  # the wide digits of Chinese input methods, and others that are none
    "",
]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_same_as_the_server():
    script = f"""import {{ mentionsOf }} from {json.dumps(MODULE.as_uri())};
    const prompts = {json.dumps(PROMPTS)};
    console.log(JSON.stringify(prompts.map((text) => [...new Set(mentionsOf(text).map((each) => each.number))])));"""
    command = ["node", "--input-type=module", "-e", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [list(mentioned_references(prompt)) for prompt in PROMPTS]
