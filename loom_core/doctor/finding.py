"""A finding: one sentence that says what was found, what is expected and what to do, and what a button would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..errors import ConfigError, LoomError, MissingExtraError, sentence
from ..phrases import phrase_data

Settings = Mapping[str, int | float | str]
"""Setting -> value, by the names of `Request`: width, height, num_frames, fps ..."""


class Level(Enum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found.

    Args:
        check: Name of the check ("size", "memory" ...).
        level: An error stops a run, a warning makes it worse than it could be, a note is as it should be.
        found: See `LoomError`.
        expected: See `LoomError`; may be empty for a note.
        fix: See `LoomError`; empty where there is nothing to do.
        command: A shell command that fixes it; empty if none does.
        settings: With these it would not be found; empty if no setting helps.
        exit_code: Of the error that it becomes if nothing is done.
    """

    check: str
    level: Level
    found: str
    expected: str = ""
    fix: str = ""
    command: str = ""
    settings: Settings = field(default_factory=dict)
    exit_code: int = ConfigError.exit_code

    @classmethod
    def of_error(
        cls, check: str, error: LoomError, *, level: Level = Level.ERROR, settings: Settings | None = None
    ) -> Finding:
        """The finding that an error stands for.

        Args:
            check: Name of the check.
            error: What would be raised.
            level: How much it matters.
            settings: With these it would not be raised.
        """
        return cls(
            check=check,
            level=level,
            found=error.found,
            expected=error.expected,
            fix=error.fix,
            command=error.fix if isinstance(error, MissingExtraError) else "",
            settings=settings or {},
            exit_code=error.exit_code,
        )

    @classmethod
    def note(cls, check: str, found: str, *, expected: str = "") -> Finding:
        """Something that is as it should be; see the class for the arguments."""
        return cls(check=check, level=Level.NOTE, found=found, expected=expected)

    @classmethod
    def warning(
        cls, check: str, found: str, *, expected: str, fix: str, command: str = "", settings: Settings | None = None
    ) -> Finding:
        """Something that makes a run worse than it could be; see the class for the arguments."""
        return cls(
            check=check,
            level=Level.WARNING,
            found=found,
            expected=expected,
            fix=fix,
            command=command,
            settings=settings or {},
        )

    @property
    def sentence(self) -> str:
        """All of it on one line."""
        return sentence(self.found, expected=self.expected, fix=self.fix)

    def _parts(self) -> dict[str, str]:
        return {"found": self.found, "expected": self.expected, "fix": self.fix}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "check": self.check,
            "level": self.level.value,
            "sentence": self.sentence,
            "found": self.found,
            "expected": self.expected,
            "fix": self.fix,
            "phrases": {part: phrase_data(text) for part, text in self._parts().items() if text},
            "command": self.command,
            "settings": dict(self.settings),
        }


def exit_code_of(findings: Iterable[Finding]) -> int:
    """What a command returns: 0 without errors, else the exit code of the first."""
    return next((finding.exit_code for finding in findings if finding.level is Level.ERROR), 0)


def count_words(findings: Iterable[Finding]) -> str:
    """How many there are: "1 error, 2 warnings"."""
    levels = [finding.level for finding in findings]
    counts = ((levels.count(level), level.value) for level in (Level.ERROR, Level.WARNING))
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
