"""The command that writes a world as files."""

from __future__ import annotations

import pytest

from loom_core.cli.make_world import main
from loom_core.errors import ConfigError

SMALL = ["--size", "64x64", "--frames", "5", "--quiet"]


def test_it_writes_a_set_and_prints_its_manifest(tmp_path, capsys):
    folder = tmp_path / "world"
    arguments = ["--output", str(folder), "--samples", "3", "--tasks", "edit-image", "text-to-image", *SMALL]
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == str(folder / "metadata.jsonl")
    assert len((folder / "metadata.jsonl").read_text().splitlines()) == 3
    assert main(arguments) == 0  # all there


def test_it_says_what_it_made(tmp_path, capsys):
    main(["--output", str(tmp_path), "--samples", "1", "--tasks", "text-to-image", "--size", "64x64"])
    assert "1 samples made, 0 were there" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--samples", "0"],
        ["--samples", "many"],
        ["--samples", "2", "--frames", "8"],
        ["--samples", "2", "--split", "test"],
        ["--samples", "2", "--tasks", "edit-vidoe"],
    ],
)
def test_wrong_requests_write_nothing(tmp_path, arguments):
    with pytest.raises(ConfigError):
        main(["--output", str(tmp_path / "world"), *arguments])
    assert not (tmp_path / "world").exists()
