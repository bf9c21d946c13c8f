"""Encoding: a model's vision tower run over every video of data sets, each once, whatever comes between."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from litakit.data.annotations import AnnotationError
from litakit.data.jobs import JobRecord, ends_all
from litakit.data.manifests import Manifest, Media, Part
from litakit.data.media import annotation_files, find_media, media_of
from litakit.data.readers import videos_of
from litakit.features import EncoderFacts, FeatureFolder, SourceStamp, VideoEncoder
from litakit.video import VideoError

logger = logging.getLogger(__name__)

LOCK_DIGITS = 3
"""Of a digest: as many locks as these have values, for any number of videos."""


@dataclass(frozen=True)
class EncodeJob:
    """A video to be encoded.

    Attributes:
        id: what it is called in reports.
        path: below the data root, with forward slashes.
        fps: frames a second, of a folder of frames.
        fault: why it cannot be encoded, where that is known beforehand.
    """

    id: str
    path: str
    fps: float | None = None
    fault: str = ""


class FeatureWork:
    """Encodes one video after another into a `FeatureFolder`; what `run_jobs` and the engines take.

    Several processes may be at the same videos: each is encoded by one of them. Where one is killed, at any
    moment, the next run makes what is missing and clears away what was left unfinished. The model is loaded
    with the first job, in the process that does it, and of the model only the vision tower.

    Args:
        model: folder of a LITA, or of a vision tower alone, see `load_vision`.
        root: the data root.
        features: the folder of features.
        base: the base model's folder, where `model` holds an adapter only.
        device: where the vision tower runs; by default the best there is.
        dtype: its type, and so the features'; by default what suits the device.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        root: str | os.PathLike[str],
        features: str | os.PathLike[str],
        *,
        base: str | os.PathLike[str] | None = None,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        # Processes on other machines have working folders of their own.
        self.model, self.root, self.features = (Path(path).absolute() for path in (model, root, features))
        self.base = None if base is None else Path(base).absolute()
        self.device = device
        self.dtype = dtype

    def __getstate__(self) -> dict[str, Any]:
        loaded = ("encoder", "folder")
        return {name: value for name, value in vars(self).items() if name not in loaded}

    @cached_property
    def encoder(self) -> VideoEncoder:
        """What looks at the videos; it keeps nothing, so that a full disk is no mere warning."""
        from litakit.modeling.vision import load_vision

        model, processor = load_vision(self.model, base=self.base, device=self.device, dtype=self.dtype)
        return VideoEncoder(model, processor)

    @cached_property
    def folder(self) -> FeatureFolder:
        """Where the features go."""
        facts = EncoderFacts.of(self.encoder, self.model)
        self._locks.mkdir(parents=True, exist_ok=True)
        with FileLock(self._locks / "folder.lock"):
            return FeatureFolder.create(self.features, facts)

    def __call__(self, job: EncodeJob) -> JobRecord | None:
        """Encode a video, unless that was done; None where another process is at it.

        Raises:
            OSError: the model's files cannot be read, or the folder of features cannot be written, on a full
                disk, so that no other job could be done either.
            ValueError: the model's folder does not hold a vision tower.
        """
        folder = self.folder
        if job.fault:
            return JobRecord(job.id, "failed", job.fault)
        source = self.root / job.path
        try:
            if folder.key_of(job.path, job.fps, root=self.root) is not None:
                return JobRecord(job.id, "kept")
            if not source.exists():
                return JobRecord(job.id, "failed", f"missing: expected {job.path}")
            return self._encode(job, source)
        except VideoError as error:
            return JobRecord(job.id, "failed", error.reason)
        except OSError as error:
            if ends_all(error):
                raise
            return JobRecord(job.id, "failed", _words_of(error))

    def _encode(self, job: EncodeJob, source: Path) -> JobRecord | None:
        with self._lock("path", self.folder.link_path(job.path, job.fps).stem) as is_path_ours:
            if not is_path_ours:
                return None
            if self.folder.key_of(job.path, job.fps, root=self.root) is not None:  # since we looked
                return JobRecord(job.id, "kept")
            stamp = SourceStamp.of(source)
            key = self.encoder.key(source, fps=job.fps)
            with self._lock("content", key) as is_content_ours:  # another path may lead to the same video
                if not is_content_ours:
                    return None
                video = self.folder.store.get(key) or self.encoder.encode(source, fps=job.fps)
                if SourceStamp.of(source) != stamp:
                    return JobRecord(job.id, "failed", "it was changed while it was read")
                self.folder.add(job.path, video, key, stamp, job.fps)
        return JobRecord(job.id, "made")

    @property
    def _locks(self) -> Path:
        return self.features / ".locks"

    @contextmanager
    def _lock(self, kind: str, digest: str) -> Iterator[bool]:
        """Hold the lock that a digest falls under; False where another process holds it."""
        lock = FileLock(self._locks / f"{kind}-{digest[:LOCK_DIGITS]}.lock")
        with suppress(Timeout):
            lock.acquire(blocking=False)
        try:
            yield lock.is_locked
        finally:
            lock.release()


def feature_jobs(parts: Sequence[tuple[Manifest, Part]], root: str | os.PathLike[str]) -> list[EncodeJob]:
    """Return a job for every different video that the annotations of some parts name, in their order.

    A video that is not there is a job that fails; so is a name that leads out of the root. A part whose
    annotations are not here is left out, with a warning in the log.

    Args:
        parts: of data sets, each with its manifest.
        root: the data root.

    Raises:
        AnnotationError: annotations cannot be read, or there are none.
        NotADirectoryError: there is no such root.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such data root; expected a folder that holds the data sets")
    jobs: dict[tuple[str, float | None], EncodeJob] = {}
    missed: list[str] = []
    for manifest, part in dict.fromkeys(parts):  # two tasks of a mixture may have one
        files = annotation_files(folder, part)
        if not any(file.is_file() for file in files):
            missed.append(f"{manifest.name} {part.split} ({', '.join(part.annotations)})")
            continue
        media = media_of(manifest, part)
        for video in videos_of(files, part.reader):
            job = _job_of(folder, media, video)
            jobs.setdefault((job.path, job.fps), job)
    if missed and not jobs:
        raise AnnotationError(f"no annotation file below {folder}: expected those of {'; '.join(missed)}")
    for name in missed:
        logger.warning("left out, since its annotations are not here: %s", name)
    return list(jobs.values())


def _job_of(root: Path, media: Media, video: str) -> EncodeJob:
    path = f"{media.folder}/{media.expected_name_of(video)}"
    fault = ""
    try:
        place = find_media(root, media, video)
        if place is None:
            fault = f"missing: expected {path}"
        else:
            path = place.relative_to(root).as_posix()
    except AnnotationError as error:
        fault = str(error)
    rate = "" if media.fps is None else f" at {media.fps:g} fps"
    return EncodeJob(path + rate, path, media.fps, fault)


def _words_of(error: OSError) -> str:
    """What went wrong, and with which file."""
    words = error.strerror or str(error) or type(error).__name__
    return f"{words} ({error.filename})" if error.filename else words
