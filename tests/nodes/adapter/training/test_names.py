"""Names of files and folders that are safe on every system."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("text", "name"), [("my lora", "my lora"), ("  a-b_c.2 ", "a-b_c.2"), ("日本", "日本")])
def test_names_that_are_taken(stand_in, text, name):
    assert stand_in("nodes.adapter.training.names").safe_name(text) == name


@pytest.mark.parametrize(
    "text", ["", "  ", "a/b", "..", "../a", "a\\b", "C:a", ".hidden", "a.", "nul", "COM1.txt", "a\nb", "a?", "x" * 101]
)
def test_names_that_are_refused(stand_in, text):
    error = stand_in("loom_core.errors").ConfigError
    with pytest.raises(error, match="give another name"):
        stand_in("nodes.adapter.training.names").safe_name(text)
