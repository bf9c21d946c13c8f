"""What the package brings along: the bundled model."""

from importlib.resources import files
from pathlib import Path


def bundled_model(name: str = "tiny") -> Path:
    """Return the folder of a model that is part of the package.

    Args:
        name: the model's name; the package has only "tiny".

    Raises:
        ValueError: the package has no model of that name.

    >>> bundled_model("tiny").name
    'tiny'
    """
    names = ("tiny",)
    if name not in names:
        raise ValueError(
            f"expected a bundled model out of {names}, got {name!r}; give a folder for any other"
        )
    return Path(str(files(__package__))) / name
