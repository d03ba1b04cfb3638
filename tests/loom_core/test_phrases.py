from __future__ import annotations

import copy
import pickle

import pytest

from loom_core.phrases import Phrase, phrase, phrase_data


def test_a_phrase_is_its_text():
    made = phrase("size {width}x{height}", width=833, height=480)
    assert made == "size 833x480"
    assert f"found {made}" == "found size 833x480"
    assert (made.template, made.values) == ("size {width}x{height}", {"width": "833", "height": "480"})


def test_data_keeps_phrases_within_phrases():
    inner = phrase("{count} frames", count=9)
    data = phrase_data(phrase("{what} of {name}", what=inner, name="{a}.mp4"))
    assert data == {
        "text": "{what} of {name}",
        "values": {"what": {"text": "{count} frames", "values": {"count": "9"}}, "name": "{a}.mp4"},
    }
    assert phrase_data("write it") == {"text": "write it", "values": {}}


def test_values_are_changed_to_the_bottom():
    made = phrase("{this}; {that}", this=phrase("no file {path}", path="folder/of/a.mp4"), that="folder/of")
    shorter = made.mapped(lambda value: value.replace("folder/of", "~"))
    assert shorter == "no file ~/a.mp4; ~"
    assert phrase_data(shorter)["values"]["this"]["values"] == {"path": "~/a.mp4"}


def test_a_missing_value_is_an_error():
    with pytest.raises(KeyError, match="height"):
        phrase("size {width}x{height}", width=1)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies_remember_too(again):
    made = again(phrase("{count} frames", count=9))
    assert isinstance(made, Phrase)
    assert (made, made.template, made.values) == ("9 frames", "{count} frames", {"count": "9"})
