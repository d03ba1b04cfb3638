from __future__ import annotations

import pytest

from loom_core.errors import (
    CancelledError,
    ConfigError,
    LoomError,
    MediaError,
    MissingExtraError,
    OutputError,
    RankError,
    ResourceError,
    WeightsError,
)


def test_message_holds_all_three_parts_in_one_line():
    error = ConfigError("98 frames", expected="4k + 1\n   frames", fix="use 97 or 101")
    assert str(error) == "found 98 frames; expected 4k + 1 frames; to fix: use 97 or 101"
    assert (error.found, error.expected, error.fix) == ("98 frames", "4k + 1\n   frames", "use 97 or 101")


def test_missing_parts_leave_no_trace():
    assert str(MediaError("nothing")) == "found nothing"
    assert str(MediaError("nothing", fix="do something")) == "found nothing; to fix: do something"


def test_exit_codes_differ_and_are_never_success():
    kinds = (
        LoomError, ConfigError, WeightsError, MediaError, MissingExtraError, ResourceError, RankError, CancelledError,
    )  # fmt: skip
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 256 for code in codes)


def test_a_place_to_write_to_shares_the_code_of_media():
    """A shell script asks which file to look at; whether it was to be read or written, the line says."""
    assert OutputError.exit_code == MediaError.exit_code


@pytest.mark.parametrize(("kind", "builtin"), [(ConfigError, ValueError), (MissingExtraError, ImportError)])
def test_errors_are_also_what_python_would_raise(kind, builtin):
    assert issubclass(kind, builtin)
    assert issubclass(kind, LoomError)


def test_missing_extra_says_how_to_install_it():
    assert str(MissingExtraError("av", "video")) == (
        "found no Python package 'av'; expected it to be installed for video; to fix: pip install av"
    )
    assert "conda" in str(MissingExtraError("av", "video", fix="conda install av"))
