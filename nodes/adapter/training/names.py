"""Names that an artist gives to files and folders, safe on every system."""

from __future__ import annotations

import re

from ....loom_core.errors import ConfigError

LONGEST = 100
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(text: str) -> str:
    """A name that is one of a file or a folder, and nothing else.

    Args:
        text: As it was typed; spaces around it do not count.

    Raises:
        ConfigError: It is empty, too long, leads elsewhere, or no file may be called so on some system.
    """
    name = text.strip()
    is_bad = _FORBIDDEN.search(name) or _DEVICES.fullmatch(name) or name.startswith(".") or name.endswith(".")
    if not name or len(name) > LONGEST or is_bad:
        raise ConfigError(
            f"name {text!r}",
            expected=f'1 to {LONGEST} letters, digits, spaces, - or _ (no folders, no <>:"|?*, no dot at either end)',
            fix="give another name",
        )
    return name
