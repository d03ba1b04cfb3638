"""Where a finding stands in a graph, what its button does, and that the page on it names all of it."""

import re

import pytest


@pytest.fixture
def places(stand_in):
    return stand_in("nodes.preflight.places")


@pytest.fixture
def finding(stand_in):
    return stand_in("loom_core.doctor.finding").Finding


def graph(stand_in, **nodes):
    prompt = {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}
    return stand_in("nodes.preflight.graph").PromptGraph(prompt)


def test_buttons(stand_in, places, finding):
    made = graph(
        stand_in,
        a=("LoomVideoEmptyLatent", {"width": 1000, "height": ["b", 0], "length": ["c", 2]}),
        b=("Unknown", {}),
        c=("LoomVideoSizeHelper", {"length": 98}),
    )

    def action(**settings):
        warning = finding.warning("size", "x", expected="y", fix="z", settings=settings)
        (one,) = places.placed(made, "a", "width", [warning])
        return one.action

    show = {"kind": "show", "node": "a", "input": "width"}
    assert action(width=992) == {"kind": "set", "values": [{"node": "a", "input": "width", "value": 992}]}
    assert action(width=992, height=608) == show  # the height is made elsewhere
    assert action(num_frames=97) == {"kind": "set", "values": [{"node": "c", "input": "length", "value": 97}]}
    assert action(fps=24.0) == show  # no such input
    assert action() == show


def test_notes_have_no_button(stand_in, places, finding):
    (one,) = places.placed(graph(stand_in, a=("A", {})), "a", "", [finding.note("size", "832x480")])
    assert one.action is None
    assert (one.to_dict()["node"], one.to_dict()["input"]) == ("a", None)


def test_the_page_names_every_field_check_and_action(places, finding, repo_root):
    page = (repo_root / "docs" / "preflight.md").read_text(encoding="utf-8")
    table = set(re.findall(r"`([\w-]+)`", "".join(line for line in page.splitlines() if line.startswith("|"))))
    assert set(places.Placed(finding.note("size", "x")).to_dict()) <= table
    sources = [*(repo_root / "loom_core" / "doctor").glob("*.py"), repo_root / "loom_core" / "cli" / "doctor.py"]
    sources += [repo_root / "nodes" / "adapter" / "preflight.py", *(repo_root / "nodes" / "preflight").glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    checks = set(re.findall(r'(?:\.note|\.warning|\.of_error|look_at)\(\s*"([\w-]+)"', text))
    checks |= set(re.findall(r'check="([\w-]+)"', text))
    assert len(checks) > 12
    assert checks - table == set()
    for kind in (places.set_action([])["kind"], places.show_action("a", "")["kind"]):
        assert f"`{kind}`" in page
