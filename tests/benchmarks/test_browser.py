"""That the benchmark of the browser says what it needs, and compares what was measured; never how smooth it is."""

import json
import re

import pytest

from benchmarks import browser


def side(fps, longest, busy):
    return {"frames": 100, "fps": fps, "longest": longest, "busy": busy}


def test_without_a_checkout_it_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    assert "COMFYUI_PATH" in browser.missing()
    browser.main()
    assert "browser: not measured. needs a ComfyUI checkout" in capsys.readouterr().out


def test_comparisons():
    rounds = [
        {"without": side(60, 20, 4), "with": side(30, 40, 5)},
        {"without": side(50, 30, 4), "with": side(50, 20, 8)},
        {"without": side(40, 30, 4), "with": side(40, 30, 4)},
    ]
    found = {"browser": "150.1.2", "nodes": 100, "panels": 44, "rounds": rounds}
    fps, longest, busy = browser.compare("vue", json.loads(json.dumps(found)))
    assert (fps.key, longest.key, busy.key) == ("browser_fps_vue", "browser_longest_vue", "browser_busy_vue")
    assert (fps.first.value, fps.second.value, fps.spread) == (50, 40, (1.0, 2.0))
    assert (busy.ratio, longest.spread) == (4 / 5, (0.5, 1.5))
    assert "100 nodes, 44 panels" in fps.conditions and "Chromium 150 " in fps.conditions


def test_what_the_script_measures_is_what_is_compared():
    text = browser.SCRIPT.read_text(encoding="utf-8")
    returned = re.search(r"return \{ frames: .* \};", text).group()
    assert set(browser.MEASURES) < set(re.findall(r"(\w+):", returned))


@pytest.mark.slow
def test_a_short_drag(tmp_path):
    if (reason := browser.missing()) is not None:
        pytest.skip(reason)
    module = browser._server()
    server = module.Server(*module.checkout_and_python(), tmp_path)
    try:
        found = browser.drag(server.wait().url, "classic", rounds=1, seconds=1)
    finally:
        server.stop()
    assert found["nodes"] == 100
    assert all(found["rounds"][0][side]["frames"] > 0 for side in ("with", "without"))
