"""Reading a prompt: values where they stand, links to where they come from."""

import pytest

PROMPT = {
    "1": {"class_type": "PrimitiveInt", "inputs": {"value": 98}},
    "2": {"class_type": "Empty", "inputs": {"width": 832, "length": ["1", 0], "height": ["9", 0], "batch": ["3", 1]}},
    "3": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "clip": ["gone", 0]}},
    "4": {"class_type": "Other", "inputs": {"model": ["5", 0]}},
    "5": {"class_type": "Loader", "inputs": {"model_name": "x"}},
    "6": {"class_type": "Loop", "inputs": {"model": ["6", 0]}},
}


@pytest.fixture
def graph(stand_in):
    return stand_in("nodes.preflight.graph").PromptGraph(PROMPT)


def test_values_and_where_they_stand(graph, stand_in):
    written = stand_in("nodes.preflight.graph").Written
    assert graph.written("2", "width") == written(832, "2", "width")
    assert graph.written("2", "length") == written(98, "1", "value")
    assert graph.written("2", "height") is graph.written("2", "batch") is graph.written("2", "none") is None
    assert graph.written("gone", "width") is None


def test_origins(graph):
    assert graph.origin("2", "batch", ["LoraLoader"]) == "3"
    assert graph.origin("3", "model", ["Loader"]) is None
    assert graph.origin("3", "model", ["Loader"], through="model") == "5"
    assert graph.origin("6", "model", ["Loader"], through="model") is None
    assert graph.origin("3", "clip", ["Loader"], through="clip") is None


def test_kinds_and_readers(graph):
    assert list(graph.of_kind("Loader", "Other")) == ["4", "5"]
    assert graph.readers("3", 1) == ["2"] and graph.readers("3", 0) == []
    assert (graph.kind("4"), graph.kind("gone")) == ("Other", "")


@pytest.mark.parametrize(
    "prompt",
    [None, [], "x", {"1": "node"}, {"1": {}}, {"1": {"class_type": 3}}, {"1": {"class_type": "A", "inputs": []}}],
)
def test_what_is_no_prompt(stand_in, prompt):
    with pytest.raises(stand_in("loom_core.errors").ConfigError, match="something else than a prompt"):
        stand_in("nodes.preflight.graph").PromptGraph(prompt)


def test_a_primitive_that_feeds_itself(stand_in):
    loop = {"1": {"class_type": "PrimitiveInt", "inputs": {"value": ["1", 0]}}}
    assert stand_in("nodes.preflight.graph").PromptGraph(loop).written("1", "value") is None
