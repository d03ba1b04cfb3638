"""What a running node shows, with a server, without one, and with an older one."""

from __future__ import annotations

import sys
import types
from importlib import import_module

import pytest


@pytest.fixture
def progress(pack):
    return import_module(f"{pack.__name__}.nodes.adapter.progress")


class Server:
    """Stands in for the running server: keeps what it is asked to send."""

    client_id = "browser"

    def __init__(self):
        self.sent = []

    def send_progress_text(self, text, node_id, sid=None):
        self.sent.append((text, node_id, sid))


@pytest.fixture
def server(monkeypatch):
    module = types.ModuleType("server")
    module.PromptServer = types.SimpleNamespace(instance=Server())
    monkeypatch.setitem(sys.modules, "server", module)
    return module.PromptServer.instance


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (725, "12:05"), (3729, "1:02:09")]
)
def test_clock(progress, seconds, shown):
    assert progress.as_clock(seconds) == shown


def test_text_reaches_the_client_that_runs_the_prompt(progress, server):
    progress.NodeProgress("7").text("reading the prompt")
    assert server.sent == [("reading the prompt", "7", "browser")]


def test_lines_stay_lines_where_the_text_is_read_as_markdown(progress, server):
    progress.NodeProgress("7").text("33 frames, without sound\nedges are cut off")
    assert [text for text, *_ in server.sent] == ["33 frames, without sound  \nedges are cut off"]


def test_node_is_the_one_being_executed_unless_named(progress, server):
    from comfy_execution.utils import CurrentNodeContext

    with CurrentNodeContext(prompt_id="p", node_id="12"):
        progress.NodeProgress().text("a")
        progress.NodeProgress("3").text("b")
    assert [node for _, node, _ in server.sent] == ["12", "3"]


def test_texts_of_a_loop_are_thinned_and_others_are_not(progress, server, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = progress.NodeProgress("7")
    for step in range(5):
        shown.text(f"step {step}", is_frequent=True)
        now[0] += progress.SECONDS_BETWEEN_TEXTS / 2
    shown.text("decoding")
    assert [text for text, _, _ in server.sent] == ["step 0", "step 2", "step 4", "decoding"]


@pytest.mark.parametrize("instance", [None, types.SimpleNamespace(client_id="older")])
def test_no_server_or_one_without_texts_is_fine(progress, monkeypatch, instance):
    module = types.ModuleType("server")
    module.PromptServer = types.SimpleNamespace(instance=instance)
    monkeypatch.setitem(sys.modules, "server", module)
    progress.NodeProgress("7").text("reading the prompt")
    monkeypatch.delitem(sys.modules, "server")
    progress.NodeProgress("7").text("reading the prompt")


def test_no_node_no_text(progress, server):
    progress.NodeProgress().text("reading the prompt")
    assert server.sent == []


def test_steps_reach_the_hosts_bar(progress, monkeypatch):
    import comfy.utils

    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *args, node_id: seen.append((args[:2], node_id)))
    shown = progress.NodeProgress("7")
    shown.step(0, 2)
    shown.step(2, 2)
    assert seen == [((0, 2), "7"), ((2, 2), "7")]


def test_a_cancel_stops_at_the_next_step(progress):
    from comfy import model_management

    shown = progress.NodeProgress("7")
    shown.step(1, 100)
    model_management.interrupt_current_processing()
    with pytest.raises(model_management.InterruptProcessingException):
        shown.step(2, 100)
    shown.step(3, 100)


def test_remaining_time_leaves_the_first_step_out_once_there_are_others(progress, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clock = progress.StepClock(5)
    told = []
    for done, took in enumerate((60, 10, 12, 11, 11), start=1):
        now[0] += took
        told.append(clock.remaining_seconds(done))
    assert told == [240, 30, 22, 11, 0]


@pytest.fixture
def listening(server, monkeypatch):
    """A server that also keeps what is sent to it by name."""
    told = []
    monkeypatch.setattr(type(server), "send_sync", lambda _, *args: told.append(args), raising=False)
    return told


def state(pack, **values):
    parts = import_module(f"{pack.__name__}.nodes.adapter.run_state")
    return parts, parts.RunState(phase=parts.Phase.DENOISE, **values)


def test_a_report_names_node_and_prompt_and_says_what_is_known(pack, progress, listening):
    from comfy_execution.utils import CurrentNodeContext

    branch = import_module(f"{pack.__name__}.loom_core.types").Branch
    memory = import_module(f"{pack.__name__}.nodes.adapter.memory_use").MemoryUse(of="gpu", predicted=7, used=5, free=9)
    parts, _ = state(pack)
    _, told = state(
        pack,
        step=2,
        steps=12,
        seconds_left=4.5,
        tokens=parts.TokenCounts(target=12, references=20, context=9),
        branches=(branch.FULL, branch.UNCONDITIONAL),
        memory=memory,
        guidance_scale=2.5,
        notice="all is well",
    )
    with CurrentNodeContext(prompt_id="p", node_id="12"):
        progress.NodeProgress().report(told)
    message = {
        "node": "12",
        "prompt_id": "p",
        "phase": "denoise",
        "step": 2,
        "steps": 12,
        "seconds_left": 4.5,
        "tokens": {"target": 12, "references": 20, "context": 9, "total": 32},
        "branches": ["full", "unconditional"],
        "memory": {"of": "gpu", "predicted": 7, "used": 5, "free": 9},
        "guidance_scale": 2.5,
        "visual_guidance_scale": None,
        "notice": "all is well",
    }
    assert listening == [("loomvideo.progress", message, "browser")]


def test_a_report_with_little_in_it_can_be_sent(pack, progress, listening):
    import json

    progress.NodeProgress("3").report(state(pack)[1])
    message = listening[0][1]
    assert json.loads(json.dumps(message)) == message
    assert {message[name] for name in ("step", "steps", "seconds_left", "tokens", "branches", "memory")} == {None}


def test_a_report_goes_to_nobody_where_no_browser_waits_for_it(pack, progress, server, listening, monkeypatch):
    shown, told = progress.NodeProgress("7"), state(pack)[1]
    monkeypatch.setattr(server, "client_id", None)
    shown.report(told)
    progress.NodeProgress().report(told)
    monkeypatch.setattr(sys.modules["server"].PromptServer, "instance", types.SimpleNamespace(client_id="older"))
    shown.report(told)
    monkeypatch.delitem(sys.modules, "server")
    shown.report(told)
    assert listening == []
