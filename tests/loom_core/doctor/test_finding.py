"""One sentence a finding, and what scripts and buttons read of it."""

import json

from loom_core.doctor.finding import Finding, Level, count_words, exit_code_of
from loom_core.errors import ConfigError, MediaError, MissingExtraError


def finding(level, exit_code=2):
    return Finding(check="size", level=level, found="x", exit_code=exit_code)


def test_the_sentence_is_that_of_the_error():
    error = ConfigError("98 frames", expected="4k + 1", fix="use 97")
    made = Finding.of_error("frames", error, settings={"num_frames": 97})
    assert made.sentence == str(error) == "found 98 frames; expected 4k + 1; to fix: use 97"
    assert (made.level, made.exit_code, made.command) == (Level.ERROR, 2, "")
    assert Finding.of_error("source", MediaError("a tree")).exit_code == 4


def test_a_missing_package_has_its_command():
    made = Finding.of_error("packages", MissingExtraError("diffusers", "the VAE"), level=Level.WARNING)
    assert (made.command, made.exit_code) == ("pip install diffusers", 5)


def test_as_data():
    made = Finding(check="fps", level=Level.WARNING, found="30", expected="24", fix="use 24", settings={"fps": 24.0})
    data = json.loads(json.dumps(made.to_dict()))
    assert data == {
        "check": "fps", "level": "warning", "sentence": "found 30; expected 24; to fix: use 24", "found": "30",
        "expected": "24", "fix": "use 24", "command": "", "settings": {"fps": 24.0},
        "phrases": {
            "found": {"text": "30", "values": {}}, "expected": {"text": "24", "values": {}},
            "fix": {"text": "use 24", "values": {}},
        },
    }  # fmt: skip


def test_exit_codes_and_counts():
    mixed = [finding(Level.NOTE, 1), finding(Level.WARNING, 6), finding(Level.ERROR, 3), finding(Level.ERROR, 4)]
    assert exit_code_of(mixed) == 3
    assert exit_code_of(mixed[:2]) == 0
    assert count_words(mixed) == "2 errors, 1 warning"
    assert count_words([]) == "0 errors, 0 warnings"
