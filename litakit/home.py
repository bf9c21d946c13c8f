"""Where litakit keeps what it can make again: one folder, `LITAKIT_HOME`."""

import os
import sys
from pathlib import Path

HOME_VARIABLE = "LITAKIT_HOME"
LIMIT_VARIABLE = "LITAKIT_CACHE_GB"
DEFAULT_LIMIT_GB = 20.0


def home_folder() -> Path:
    """Return the folder of all caches; it need not exist yet.

    It is `LITAKIT_HOME` where that is set, else `litakit` in the platform's cache folder: `$XDG_CACHE_HOME`
    or `~/.cache` on Linux, `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows. Nothing in it is
    precious.

    >>> import os
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, {"LITAKIT_HOME": "caches/litakit"}):
    ...     home_folder().as_posix()
    'caches/litakit'
    """
    asked = os.environ.get(HOME_VARIABLE)
    if asked:
        return Path(asked).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "litakit"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "litakit" / "Cache"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "litakit"


def cache_limit_bytes() -> int:
    """Return how large the cache of video features may grow, in bytes: `LITAKIT_CACHE_GB`, by default 20 GB.

    Raises:
        ValueError: the variable is not a number of gigabytes, 0 or more.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, {"LITAKIT_CACHE_GB": "0.5"}):
    ...     cache_limit_bytes()
    500000000
    """
    text = os.environ.get(LIMIT_VARIABLE, str(DEFAULT_LIMIT_GB))
    try:
        gigabytes = float(text)
        if not 0 <= gigabytes < float("inf"):
            raise ValueError
    except ValueError:
        raise ValueError(f"{LIMIT_VARIABLE} must be a number of gigabytes, 0 or more, got {text!r}") from None
    return int(gigabytes * 1e9)
