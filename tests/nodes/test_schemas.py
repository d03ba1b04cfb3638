"""What an artist reads on every node, and what a saved graph relies on."""

from __future__ import annotations

import re

import pytest


def test_ids_are_those_of_the_stand_ins(stand_in, schemas):
    assert set(stand_in("nodes.outdated").IDS) == set(schemas)


def test_ids_name_their_classes(stand_in):
    for node in stand_in("nodes.catalogue").NODES:
        assert node.GET_SCHEMA().node_id == node.__name__


def test_ids_follow_the_rule(schemas):
    assert all(re.fullmatch(r"LoomVideo([A-Z][A-Za-z]*)+", name) for name in schemas)


def test_names_categories_and_words(schemas):
    for schema in schemas.values():
        assert schema.display_name.startswith("LoomVideo "), schema.node_id
        assert schema.category.partition("/")[0] == "LoomVideo", schema.node_id
        assert len(schema.description) > 30, schema.node_id
        assert schema.search_aliases, schema.node_id


def test_every_port_has_a_tooltip(schemas):
    silent = [
        f"{schema.node_id}.{port.id}"
        for schema in schemas.values()
        for port in (*schema.inputs, *schema.outputs)
        if len(port.tooltip) < 8
    ]
    assert silent == []


def test_input_ids_are_unique_and_plain(schemas):
    for schema in schemas.values():
        names = [port.id for port in schema.inputs]
        assert len(names) == len(set(names)), schema.node_id
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names), names


def test_defaults_are_among_the_options(schemas):
    for schema in schemas.values():
        for port in schema.inputs:
            if port.kind == "Combo" and port.options and port.default is not None:
                assert port.default in port.options, f"{schema.node_id}.{port.id}"


def test_execute_takes_every_input(stand_in):
    """By its name; what is optional has a default, or a graph without it would fail only when it runs."""
    import inspect

    for node in stand_in("nodes.catalogue").NODES:
        schema, parameters = node.GET_SCHEMA(), inspect.signature(node.execute).parameters
        assert {port.id for port in schema.inputs} <= set(parameters), schema.node_id
        for port in schema.inputs:
            if port.optional:
                assert parameters[port.id].default is not inspect.Parameter.empty, f"{schema.node_id}.{port.id}"


@pytest.mark.parametrize("version", ["0.27.1", "0.3.60"])
def test_an_old_host_gets_stand_ins_that_say_so(stand_in, monkeypatch, version):
    import asyncio

    monkeypatch.setattr(stand_in("nodes.adapter.host").comfyui_version, "__version__", version)
    extension = stand_in("nodes.extension").make_extension()
    nodes = asyncio.run(extension.get_node_list())
    assert {node.GET_SCHEMA().node_id for node in nodes} == set(stand_in("nodes.outdated").IDS)
    with pytest.raises(Exception, match=f"found ComfyUI {version}.*0.28.0 or newer.*update ComfyUI"):
        nodes[0].execute(anything=1)


def test_a_host_without_what_the_nodes_need_gets_stand_ins_too(stand_in, monkeypatch):
    import asyncio
    import sys

    catalogue = stand_in("nodes.catalogue").__name__
    monkeypatch.setitem(sys.modules, catalogue, None)  # importing it fails
    nodes = asyncio.run(stand_in("nodes.extension").make_extension().get_node_list())
    assert {node.GET_SCHEMA().node_id for node in nodes} == set(stand_in("nodes.outdated").IDS)
    with pytest.raises(Exception, match=r"cannot be loaded.*update LoomVideo and ComfyUI"):
        nodes[0].execute()


@pytest.mark.parametrize(
    ("version", "is_supported"),
    [
        ("0.28.0", True),
        ("0.28", True),
        ("0.33.0", True),
        ("1.0", True),
        ("0.27.9", False),
        ("0.3.75", False),
        ("fork", True),
    ],
)
def test_which_hosts_are_supported(stand_in, version, is_supported):
    assert stand_in("nodes.adapter.host").is_supported(version) == is_supported


def test_every_node_has_a_help_page_that_names_its_inputs(schemas, repo_root):
    folder = repo_root / "web" / "docs"
    assert {path.stem for path in folder.glob("*.md")} == set(schemas)
    for name, schema in schemas.items():
        page = (folder / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {schema.display_name}\n"), name
        missing = [port.id for port in schema.inputs if not re.search(rf"\b{port.id}\b", page)]
        assert missing == [], name


def test_what_makes_a_run_is_not_drawn_anew_at_every_queueing(schemas):
    """The frontend does so with inputs of these names, and a training run that was stopped would never go on."""
    assert {"seed", "noise_seed"}.isdisjoint(port.id for port in schemas["LoomVideoLoraTrain"].inputs)
