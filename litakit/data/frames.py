"""Folders of frames, made of videos: for data sets whose manifest says that they are kept so."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from litakit.data.annotations import AnnotationError
from litakit.data.jobs import JobRecord, ends_all
from litakit.data.manifests import Manifest, Media, Part
from litakit.data.media import annotation_files, find_media, media_of
from litakit.data.readers import videos_of
from litakit.video import VideoError, extract_frames
from litakit.video._extract import QUALITY, SIZE

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".vob", ".gif"),
)
"""Endings of video files; where a video is there twice, the earlier ending is taken."""

LOCKS = ".locks"
DIGITS = 3
"""Of a digest of its id a folder's lock is called by so many: there are at most 16 ** 3 locks, which stay."""


@dataclass(frozen=True)
class FrameJob:
    """One folder of frames to make.

    Attributes:
        id: the folder below the data root.
        video: the file to make it of; None where there is none.
        folder: where the frames go.
        locks: folder of the locks by which processes keep out of each other's way.
        fps: frames a second.
        size: width and height in pixels; None keeps the video's.
        quality: of the jpgs, 1 to 100.
        fault: why it cannot be made, where that is known beforehand.
    """

    id: str
    video: Path | None
    folder: Path
    locks: Path
    fps: float
    size: tuple[int, int] | None = SIZE
    quality: int = QUALITY
    fault: str = ""


def frame_jobs(
    manifests: Sequence[Manifest],
    root: str | os.PathLike[str],
    videos: str | os.PathLike[str],
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = SIZE,
    quality: int = QUALITY,
) -> list[FrameJob]:
    """Return a job for each different video that data sets keep as a folder of frames.

    A video without a file, and without frames, is a job that fails; so is a name that leads out of the root.
    A part of a data set whose annotations are not here is left out, with a warning in the log.

    Args:
        manifests: of the data sets.
        root: the data root.
        videos: folder of the video files, in it or in folders of it, called as in the annotations, with or
            without `v_` and the ending.
        fps: frames a second; None takes each manifest's, and another would be read at the wrong times.
        size: width and height in pixels; None keeps the video's.
        quality: of the jpgs, 1 to 100.

    Raises:
        ValueError: a data set has no folders of frames, or has them at another rate.
        AnnotationError: annotations cannot be read, or there are none.
        NotADirectoryError: no such root or folder of videos.
    """
    # Processes on other machines have working folders of their own.
    base, files = Path(root).absolute(), _VideoFiles(Path(videos).absolute())
    if not base.is_dir():
        raise NotADirectoryError(f"{base}: no such data root; expected a folder that holds the data sets")
    jobs: dict[str, FrameJob] = {}
    missed: list[str] = []
    for manifest in manifests:
        for part, media in _frame_parts(manifest, fps):
            listed = annotation_files(base, part)
            if not any(file.is_file() for file in listed):
                missed.append(f"{manifest.name} {part.split} ({', '.join(part.annotations)})")
                continue
            for video in videos_of(listed, part.reader):
                name = str(PurePosixPath(media.folder, media.name_of(video)))
                job = jobs.get(name)
                if job is None:
                    job = jobs[name] = _job(name, base, media, video, files, size, quality)
                if job.fps != media.fps:
                    raise ValueError(
                        f"{name} is read at {job.fps:g} and at {media.fps:g} frames a second: "
                        f"the manifests must agree (see {manifest.name})"
                    )
    if missed and not jobs:
        raise AnnotationError(f"no annotation file below {base}: expected those of {'; '.join(missed)}")
    for part_name in missed:
        logger.warning("left out, since its annotations are not here: %s", part_name)
    return list(jobs.values())


def extract(job: FrameJob) -> JobRecord | None:
    """Make one folder of frames; for `run_jobs`, in any number of processes at once.

    Returns:
        "kept" where the folder is there, "made" (with what is odd about the video as its reason, such as that
        it is cut off), or "failed" with the reason; None where another process is at it, or at one of the few
        that share its lock.

    Raises:
        OSError: the disk is full or cannot be written to, so that no other folder could be made either.
    """
    if job.fault:
        return JobRecord(job.id, "failed", job.fault)
    try:
        if _is_made(job.folder):
            return JobRecord(job.id, "kept")
        if job.video is None:
            return JobRecord(job.id, "failed", "no video to make it of")
        job.locks.mkdir(parents=True, exist_ok=True)
        bucket = hashlib.sha256(job.id.encode()).hexdigest()[:DIGITS]
        with FileLock(job.locks / f"{bucket}.lock", blocking=False):
            if _is_made(job.folder):
                return JobRecord(job.id, "kept")
            made = extract_frames(job.video, job.folder, fps=job.fps, size=job.size, quality=job.quality)
    except Timeout:
        return None
    except VideoError as error:
        return JobRecord(job.id, "failed", str(error))
    except OSError as error:
        if ends_all(error):
            raise
        where = f"{error.filename}: " if error.filename else ""
        return JobRecord(job.id, "failed", f"{where}{error.strerror or error}")
    return JobRecord(job.id, "made", "; ".join(made.info.warnings))


def _is_made(folder: Path) -> bool:
    """Say whether a folder holds frames: it comes into being with all of them."""
    return folder.is_dir() and any(folder.iterdir())


def _frame_parts(manifest: Manifest, fps: float | None) -> Iterator[tuple[Part, Media]]:
    parts = [(part, media_of(manifest, part)) for part in manifest.parts]
    of_frames = [(part, media) for part, media in parts if media.kind == "frames"]
    if not of_frames:
        kinds = " and ".join(sorted({media.kind for _, media in parts}))
        raise ValueError(
            f"{manifest.name} keeps no folders of frames, but media of the kind {kinds}: nothing to extract"
        )
    for part, media in of_frames:
        if fps is not None and fps != media.fps:
            raise ValueError(
                f"{manifest.name} reads its folders at {media.fps:g} frames a second: made at {fps:g}, they "
                "would be read at the wrong times; leave the rate out, or change it in the manifest"
            )
        yield part, media


def _job(
    name: str,
    root: Path,
    media: Media,
    video: str,
    files: _VideoFiles,
    size: tuple[int, int] | None,
    quality: int,
) -> FrameJob:
    fault, file = "", None
    try:
        frames = find_media(root, media, video)  # refuses what leads out of the root
        file = files.find(video)
        if file is None and frames is None:
            fault = f"no video called {video}, with or without v_ and an ending, in {files.folder}"
    except AnnotationError as error:
        fault = str(error)
    assert media.fps is not None
    folder = root / media.folder
    return FrameJob(name, file, root / name, folder / LOCKS, media.fps, size, quality, fault)


class _VideoFiles:
    """The video files of a folder and the folders in it, by one look."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder}: no such folder of videos")
        self.folder = folder
        self.by_name = self._listed()

    def _listed(self) -> Mapping[str, Path]:
        found = [
            (VIDEO_SUFFIXES.index(suffix), name, folder)
            for folder, _, names in os.walk(self.folder)
            for name in names
            if (suffix := Path(name).suffix.lower()) in VIDEO_SUFFIXES and not name.startswith(".")
        ]
        by_name: dict[str, Path] = {}
        for _, name, folder in sorted(found):
            path = Path(folder, name)
            by_name.setdefault(name, path)
            by_name.setdefault(path.stem, path)
        return by_name

    def find(self, video: str) -> Path | None:
        """Return the file of a video that the annotations call so; None where there is none."""
        name = PurePosixPath(video).name
        stem, dot, ending = name.rpartition(".")
        names = [name, stem] if dot and f".{ending.lower()}" in VIDEO_SUFFIXES else [name]
        for called in names:
            for candidate in (called, f"v_{called}", called.removeprefix("v_")):
                if candidate in self.by_name:
                    return self.by_name[candidate]
        return None
