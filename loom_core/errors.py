"""The errors that reach a user: each says what was found, what is expected and what to do.

`str(error)` is one line, so that a shell script, a log and a ComfyUI node can all show it whole. `exit_code` is what
the command line returns for it (see `cli/`).
"""

from __future__ import annotations

from .phrases import phrase


def sentence(found: str, *, expected: str = "", fix: str = "") -> str:
    """What was found, what is expected and what to do, on one line.

    Args:
        found: See `LoomError`.
        expected: See `LoomError`.
        fix: See `LoomError`.
    """
    parts = [f"found {found}"]
    if expected:
        parts.append(f"expected {expected}")
    if fix:
        parts.append(f"to fix: {fix}")
    return "; ".join(" ".join(part.split()) for part in parts)


class LoomError(Exception):
    """Something a user can put right.

    Args:
        found: What was met, without a final full stop ("98 frames").
        expected: What would have been right ("4k + 1 frames").
        fix: What to do about it ("use 97 or 101").
    """

    exit_code = 1

    def __init__(self, found: str, *, expected: str = "", fix: str = "") -> None:
        self.found, self.expected, self.fix = found, expected, fix
        super().__init__(sentence(found, expected=expected, fix=fix))


class ConfigError(LoomError, ValueError):
    """A request or a setting that makes no sense (98 frames, negative steps, `@Image 3` with two references)."""

    exit_code = 2


class WeightsError(LoomError):
    """A weights file that is missing, damaged, unsafe, or of another model."""

    exit_code = 3


class MediaError(LoomError):
    """A video, image or sound file that cannot be read or written."""

    exit_code = 4


class OutputError(LoomError):
    """A place that a result cannot be written to: no such folder, no permission, a folder of that name."""

    exit_code = 4


class MissingExtraError(LoomError, ImportError):
    """An optional Python package is not installed."""

    exit_code = 5

    def __init__(self, package: str, needed_for: str, *, fix: str = "") -> None:
        super().__init__(
            phrase("no Python package {package}", package=repr(package)),
            expected=phrase("it to be installed for {use}", use=needed_for),
            fix=phrase("{command}", command=fix or f"pip install {package}"),
        )


class ResourceError(LoomError):
    """The machine ran out of memory or disk."""

    exit_code = 6


class TrainingError(LoomError):
    """A training run that cannot go on: numbers that are not finite, a reward that makes no sense or is cheated."""

    exit_code = 7


class RankError(LoomError):
    """Another process of the same run ended, cannot be reached, or met an error that ends the run."""

    exit_code = 8


class CancelledError(LoomError):
    """The user stopped the run; nothing was written."""

    exit_code = 130
