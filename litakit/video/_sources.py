"""What a source is (file, folder of frames, image), and frames of images by Pillow."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from litakit.video.types import Kind, VideoError

if TYPE_CHECKING:
    from litakit.video.types import Pixels

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".jfif"})
URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+:/{1,3}[^/\\]")


def kind_of(source: str | os.PathLike[str]) -> tuple[str, Kind]:
    """Return a source's path and what it is, without decoding anything.

    Raises:
        VideoError: it is missing, empty, unreadable, a URL, or neither a file nor a folder.
    """
    name = os.fsdecode(source)
    if URL.match(name):
        raise VideoError(
            name, "a URL is not opened: download the video first, then give the path of the file"
        )
    if "\0" in name or not name:
        raise VideoError(repr(name), "not a path")
    try:
        status = Path(name).stat()
    except OSError as error:
        reason = "no such file or folder" if isinstance(error, FileNotFoundError) else _words(error)
        raise VideoError(name, reason) from error
    if stat.S_ISDIR(status.st_mode):
        if not os.access(name, os.R_OK | os.X_OK):
            raise VideoError(name, "the folder cannot be read: permission denied")
        return name, "frames"
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(name, "neither a regular file nor a folder")
    if not os.access(name, os.R_OK):
        raise VideoError(name, "the file cannot be read: permission denied")
    if status.st_size == 0:
        raise VideoError(name, "the file is empty (0 bytes)")
    return name, "image" if Path(name).suffix.lower() in IMAGE_SUFFIXES else "video"


def frame_files(folder: str) -> list[str]:
    """Return the images of a folder in natural order of their names: `2.jpg` before `10.jpg`.

    Hidden files and files that are no images by their suffix are left out.

    Raises:
        VideoError: there is none.
    """
    names = [
        entry.name
        for entry in os.scandir(folder)
        if entry.is_file()
        and not entry.name.startswith(".")
        and Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
    ]
    if not names:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise VideoError(folder, f"a folder without frames: expected images ({suffixes})")
    return [os.path.join(folder, name) for name in sorted(names, key=natural_key)]  # noqa: PTH118


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key by which numbers in names count as numbers.

    >>> sorted(["f10.jpg", "f9.jpg", "f010.jpg"], key=natural_key)
    ['f9.jpg', 'f010.jpg', 'f10.jpg']
    """
    parts = re.split(r"(\d+)", name)
    key: list[tuple[int, int | str]] = [
        (0, int(part)) if part.isdecimal() else (1, part) for part in parts if part
    ]
    return (*key, (2, name))


def read_image(path: str) -> Pixels:
    """Return an image file as (H, W, 3) uint8 RGB, turned as its EXIF data asks.

    Raises:
        VideoError: it is no image, or is cut off.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise VideoError(path, "not a readable image") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise VideoError(path, f"not a readable image ({_words(error)})") from error


def image_format(path: str) -> str:
    """Return Pillow's name for an image's format in small letters, such as "jpeg"."""
    with Image.open(path) as image:
        return (image.format or "").lower()


def _words(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())
