"""Where a data set's files lie below the data root."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from litakit.data.annotations import AnnotationError
from litakit.data.manifests import Manifest, Media, Part

CLIP = re.compile(r"([\w-]{11})_\d+(?:\.\d+)?_\d+(?:\.\d+)?")
"""A clip of a YouTube video: the 11 characters of its id, and its first and last second."""


def annotation_files(root: Path, part: Part) -> list[Path]:
    """Return the annotation files of a part, in the manifest's order, those of a pattern by name.

    Files that a pattern stands for are there; one that is named is returned whether it is there or not.
    """
    files: list[Path] = []
    for pattern in part.annotations:
        files += sorted(root.glob(pattern)) if "*" in pattern else [root / pattern]
    return files


def media_of(manifest: Manifest, part: Part) -> Media:
    """Return where the videos of a part lie."""
    return part.media or manifest.media


def find_media(root: Path, media: Media, video: str) -> Path | None:
    """Return the file or folder of a video; None where there is none.

    Args:
        root: the data root.
        media: where the data set's videos lie.
        video: what the annotations call it, with or without an ending.

    Raises:
        AnnotationError: no name, or one that would lead out of the data root.
    """
    name = media.name_of(video)
    path = PurePosixPath(name)
    if not video or not path.parts:
        raise AnnotationError(f"{video!r} is no name of a video")
    if ".." in path.parts or path.is_absolute() or "\\" in name:
        raise AnnotationError(f"{video!r} is no name of a video: it leads out of the data root")
    place = root / media.folder / name
    for candidate in _candidates(place, media):
        if candidate.is_dir() if media.kind == "frames" else candidate.is_file():
            return candidate
    return None


def _candidates(place: Path, media: Media) -> Iterable[Path]:
    yield place
    for suffix in media.suffixes:
        yield place.with_name(place.name + suffix)


def bare_name(video: str) -> str:
    """Return what a video is called in every data set: no folder, no ending, no `v_` before the id.

    Nor the seconds behind it, where a clip of a YouTube video is called by them, as in QVHighlights.

    >>> bare_name("v_QOlSCBRmfWY"), bare_name("clips/QOlSCBRmfWY.mp4")
    ('QOlSCBRmfWY', 'QOlSCBRmfWY')
    """
    name = PurePosixPath(video).name
    stem, dot, ending = name.rpartition(".")
    if dot and ending.isalnum() and len(ending) <= 4 and not ending.isdigit():
        name = stem
    clip = CLIP.fullmatch(name.removeprefix("v_"))
    return clip[1] if clip else name.removeprefix("v_")
