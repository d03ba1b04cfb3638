"""Lines for a terminal, and a text for others."""

from loom_core import __version__
from loom_core.doctor.finding import Finding, Level
from loom_core.doctor.privacy import Private
from loom_core.doctor.report import lines_of, report

HOME = "/home/" + "alice"
FINDINGS = [
    Finding(check="frames", level=Level.ERROR, found="98 frames", fix="use 97", settings={"num_frames": 97}),
    Finding(check="model", level=Level.ERROR, found=f"no file {HOME}/films/gen.pth"),
    Finding(check="packages", level=Level.WARNING, found="no av", command="pip install av"),
    Finding(check="device", level=Level.NOTE, found="a GPU"),
]


def test_lines():
    assert lines_of(FINDINGS, flags=lambda settings: f"--frames {settings['num_frames']}") == [
        "error    frames: found 98 frames; to fix: use 97",
        "         --frames 97",
        f"error    model: found no file {HOME}/films/gen.pth",
        "warning  packages: found no av",
        "         pip install av",
        "ok       device: found a GPU",
    ]
    assert not any("--frames" in line for line in lines_of(FINDINGS))


def test_a_report_is_a_block_without_private_paths():
    text = report(
        FINDINGS, ["asked: source " + HOME + "/films/x.mp4 on tower"], private=Private((HOME,), ("alice",), ("tower",))
    )
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("```", "```")
    assert lines[1].startswith(f"LoomVideo {__version__}, Python ")
    assert lines[2] == "asked: source …/x.mp4 on <host>"
    assert lines[3] == "2 errors, 1 warning"
    assert "error    model: found no file …/gen.pth" in lines
    assert "alice" not in text and "films" not in text
