from __future__ import annotations

import errno

import pytest

from loom_core.atomic import atomic_target, check_writable, make_folder
from loom_core.errors import OutputError, ResourceError


def test_the_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "out.bin"
    with atomic_target(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_partial_one(tmp_path, error):
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_target(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (errno.ENOSPC, ResourceError, "no space left"),
        (errno.EDQUOT, ResourceError, "no space left"),
        (errno.EACCES, OutputError, "cannot be written"),
        (errno.EROFS, OutputError, "cannot be written"),
    ],
)
def test_errors_of_the_system_are_explained(tmp_path, code, kind, message):
    with pytest.raises(kind, match=message), atomic_target(tmp_path / "out.bin") as temporary:
        temporary.write_bytes(b"half")
        raise OSError(code, "refused")
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be(tmp_path):
    for check in (check_writable, lambda path: atomic_target(path).__enter__()):
        with pytest.raises(OutputError, match=r"found the folder .*add a file name"):
            check(tmp_path)
        with pytest.raises(OutputError, match=r"found no folder .*create it"):
            check(tmp_path / "missing" / "out.bin")


def test_check_writable_leaves_no_trace(tmp_path):
    check_writable(tmp_path / ("n" * 250 + ".mp4"))
    assert not list(tmp_path.iterdir())


def test_a_folder_is_made_with_those_above_it_or_the_reason_told(tmp_path):
    make_folder(tmp_path / "a" / "b", what="the folder", fix="change it")
    make_folder(tmp_path / "a" / "b", what="the folder", fix="change it")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"found the cache folder .*file, which cannot be created .*to fix: move it"):
        make_folder(tmp_path / "file", what="the cache folder", fix="move it")
