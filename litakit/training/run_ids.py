"""Names of runs: readable, in the order of time, and good as names of folders."""

import re
import secrets
from datetime import datetime

ID_CHARACTERS = 100
# fmt: off
WORDS = (
    "amber", "ash", "bay", "birch", "brook", "cedar", "clay", "cliff", "clover", "cloud", "coral",
    "creek", "dale", "dawn", "delta", "dune", "elm", "fern", "field", "fjord", "flint", "fog",
    "frost", "glade", "grove", "hazel", "heath", "hill", "ice", "iris", "isle", "ivy", "jade",
    "lake", "lark", "leaf", "maple", "marsh", "mist", "moon", "moss", "oak", "opal", "pearl",
    "pine", "pond", "quartz", "rain", "reed", "reef", "ridge", "river", "sage", "sand", "shore",
    "sky", "slate", "snow", "star", "stone", "storm", "thorn", "tide", "vale", "willow", "wind",
)
# fmt: on


def new_id() -> str:
    """Return a name that no other run is likely to have: the local time and a word."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.choice(WORDS)}"


def checked_id(name: str) -> str:
    """Return a name that somebody chose, if a folder can have it.

    Raises:
        ValueError: it is empty or too long, holds a blank or a slash, or begins with a dot.

    >>> checked_id("lora-r64")
    'lora-r64'
    """
    if not re.fullmatch(r"\w[\w.+=@-]*", name) or len(name) > ID_CHARACTERS:
        raise ValueError(
            f"expected an id of at most {ID_CHARACTERS} letters, digits and . _ - + = @, beginning with a "
            f"letter or digit, got {name!r}"
        )
    return name
