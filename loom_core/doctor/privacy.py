"""Takes what tells of a person or a machine out of a text that is to be shown to others."""

from __future__ import annotations

import getpass
import os
import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_FOLDER = "…"
# a slash or drive that begins a path, not one inside a word, a web address or a fraction
_ABSOLUTE = re.compile(
    r"""(?<![\w.:/\\…])(?:~(?=[\\/])|[A-Za-z]:(?=[\\/])|(?=[\\]{2}\w)|(?=/[^\s/]))"""
    r"""(?:[\\/]+[^\s\\/:*?"'<>|,;()]+)*[\\/]+(?=[^\s\\/]|$)"""
)
_BLANKS = re.compile(rf"""{_FOLDER}/[^\n;,:()'"{_FOLDER}]*[\\/]""")
"""What is left of a path with a blank in a folder's name: up to the last slash of a phrase, rather too much."""
_WINDOWS_OR_POSIX = re.compile(r"[\\/]+")


@dataclass(frozen=True)
class Private:
    """What must not be in a text.

    Args:
        homes: Home folders, as anything on this machine may spell them.
        users: Names of the user.
        hosts: Names of the machine, with and without its domain.
        paths: Files and folders of the user; of each its own name stays.
    """

    homes: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @classmethod
    def of_this_machine(cls, paths: Iterable[Path] = ()) -> Private:
        """What is private here.

        Args:
            paths: That a text may name, such as those of the arguments.
        """
        homes = [str(Path.home()), os.path.realpath(Path.home()), *_environment("HOME", "USERPROFILE")]
        users = [Path(home).name for home in homes] + _environment("USER", "USERNAME", "LOGNAME")
        with suppress(OSError, KeyError):  # an id without a name, as in containers
            users.append(getpass.getuser())
        host = platform.node()
        hosts = [host, host.partition(".")[0], *_environment("HOSTNAME", "COMPUTERNAME")]
        spelled = [text for path in paths for text in (str(path), str(path.expanduser()), os.path.realpath(path))]
        return cls(*(tuple(dict.fromkeys(filter(None, names))) for names in (homes, users, hosts, spelled)))


def _environment(*names: str) -> list[str]:
    return [os.environ.get(name, "") for name in names]


def without_private(text: str, private: Private) -> str:
    """The text without home folders, user, machine, and the folders of absolute paths; names of files stay.

    Args:
        text: Of any number of lines.
        private: What must not be in it.
    """
    # first the known paths, since only they tell where a path with blanks ends; long ones before their beginnings
    for path in sorted({*private.paths, *map(_parent, private.paths)} - {"", "/", "."}, key=len, reverse=True):
        name = _WINDOWS_OR_POSIX.split(path.rstrip("\\/"))[-1]
        is_folder = path not in private.paths
        if _WINDOWS_OR_POSIX.search(path):
            text = _replace(text, path, _FOLDER if is_folder else f"{_FOLDER}/{name}")
    for home in sorted(private.homes, key=len, reverse=True):
        if len(home.strip("\\/")) > 0:
            text = _replace(text, home, "~")
    text = _BLANKS.sub(f"{_FOLDER}/", _ABSOLUTE.sub(f"{_FOLDER}/", text))
    for names, instead in ((private.hosts, "<host>"), (private.users, "<user>")):
        for name in sorted(names, key=len, reverse=True):
            text = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", instead, text, flags=re.IGNORECASE)
    return text


def _parent(path: str) -> str:
    parts = _WINDOWS_OR_POSIX.split(path)
    return path[: -len(parts[-1]) - 1] if len(parts) > 2 else ""  # noqa: PLR2004 - a folder below the root


def _replace(text: str, path: str, instead: str) -> str:
    """Replace a path where it does not go on as another name, also with backslashes doubled, as Python prints them."""
    for spelled in dict.fromkeys((path, path.replace("\\", "\\\\"), path.replace("\\", "/"))):
        text = re.sub(rf"{re.escape(spelled)}(?![\w-])", lambda _: instead, text, flags=re.IGNORECASE)
    return text
