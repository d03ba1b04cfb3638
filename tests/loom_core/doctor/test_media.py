"""Source and references, by their headers, against what is made of them."""

from dataclasses import replace

from loom_core.doctor.finding import Level
from loom_core.doctor.media import check_reference, check_sound, check_source, look_at
from loom_core.media.probe import MediaInfo

CLIP = MediaInfo(
    is_image=False, width=832, height=480, fps=24.0, num_frames=121, duration_seconds=121 / 24, has_audio=True,
    pixel_format="yuv420p",
)  # fmt: skip
STILL = replace(CLIP, is_image=True, fps=0.0, num_frames=1, duration_seconds=0.0, has_audio=False, pixel_format="RGB")


def warnings(findings):
    return [finding.found for finding in findings if finding.level is Level.WARNING]


def test_what_fits_is_a_note():
    findings = check_source("a.mp4", CLIP, fps=24.0, size=(832, 480))
    assert [finding.level for finding in findings] == [Level.NOTE]
    assert findings[0].found == "a.mp4, 832x480, 121 frames at 24 a second"
    assert warnings(check_source("a.png", STILL, fps=24.0, size=(832, 480))) == []


def test_what_is_cut_off_and_enlarged():
    (cut,) = warnings(check_source("a.mp4", CLIP, fps=24.0, size=(640, 640)))
    assert cut == "a.mp4 of 832x480 for 640x640, which cuts 42% of it off"
    (enlarged,) = warnings(check_source("a.mp4", replace(CLIP, width=416, height=240), fps=24.0, size=(832, 480)))
    assert enlarged.endswith("for 832x480, 2.0 times as large")


def test_what_is_left_out():
    long = replace(CLIP, num_frames=288, duration_seconds=12.0)
    assert warnings(check_source("a.mp4", long, fps=24.0)) == ["a.mp4 of 12.0 s, of which the first 5.0 s are edited"]
    assert warnings(check_source("a.mp4", long, fps=24.0, max_frames=1)) == []
    short = replace(CLIP, num_frames=3, duration_seconds=3 / 24)
    (few,) = warnings(check_source("a.mp4", short, fps=24.0))
    assert few == "a.mp4 with 3 frames, of which the first is edited as a still"


def test_sound():
    assert check_sound("a.mp4", CLIP)[0].found == "a.mp4 with sound, which is kept"
    (lost,) = check_sound("a.mp4", CLIP, is_kept=False, fix="use Restore Video")
    assert (lost.level, lost.fix) == (Level.WARNING, "use Restore Video")
    silent = replace(CLIP, has_audio=False)
    assert check_sound("a.mp4", silent, is_kept=False)[0].level is Level.NOTE
    assert check_sound("a.png", STILL) == []


def test_references():
    assert warnings(check_reference(1, "a.png", STILL, size=(832, 480))) == []
    (clip,) = check_reference(2, "b.mp4", CLIP, size=None)
    assert (clip.level, clip.exit_code) == (Level.ERROR, 4)
    assert "reference 2, b.mp4, which is a clip" in clip.sentence
    (alpha,) = warnings(check_reference(1, "a.png", replace(STILL, is_transparent=True), size=None))
    assert alpha == "@Image 1, a.png with transparency, which is laid over white"
    cutout = replace(STILL, is_transparent=True)
    (alpha,) = warnings(check_reference(1, "a.png", cutout, size=None, is_laid_over_white=False))
    assert alpha == "@Image 1, a.png with transparency, which the loader leaves out"


def test_files(harbour, tmp_path):
    info, findings = look_at(harbour, check="source")
    assert (info.width, findings) == (320, [])
    info, (finding,) = look_at(tmp_path / "gone.mp4", check="source")
    assert (info, finding.exit_code, finding.check) == (None, 4, "source")
    assert "gone.mp4" in finding.sentence
