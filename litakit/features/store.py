"""FeatureStore: features of videos as files, each written whole, the least recently used removed first."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from litakit.features.identity import tensor_digest
from litakit.files import write_atomic
from litakit.home import cache_limit_bytes, home_folder
from litakit.video import VideoInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from torch import Tensor

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
STALE_PART_SECONDS = 3600.0
# After an eviction this share of the limit is in use, so that the next few videos need none.
SHARE_KEPT = 0.9

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """What is worth keeping of a video, or of a part of it.

    Attributes:
        features: (N, width) on the CPU, in the encoder's type: what the model's `get_video_features` gives
            for this one video.
        info: facts about the whole file.
        duration: seconds of the part that was encoded, which the model is told; None for a still image.
        start: seconds in the video at which the part begins.
        pts_seconds: (T,) float64, when each sampled frame is shown, since the video's first frame.
        frame_indices: (T,) the sampled frames.
        backend: what decoded them.
        sampling: the rule they were sampled by.
        notes: what the decoder had to say, in words.
    """

    features: Tensor
    info: VideoInfo
    duration: float | None
    start: float
    pts_seconds: np.ndarray
    frame_indices: np.ndarray
    backend: str
    sampling: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StoreEntry:
    """A file of the store: whose features it holds, how large it is, when it was last used (Unix seconds)."""

    key: str
    path: Path
    video: str
    start: float
    duration: float | None
    num_bytes: int
    last_used: float


class FeatureStore:
    """A folder of video features, keyed by what they were made from (see `VideoEncoder.key`).

    Several processes may use one store. A file that cannot be read counts as missing and is removed.

    Args:
        folder: where the files are; by default `features` in `litakit.home.home_folder()`.
        max_bytes: how large the folder may grow before the least recently used files go; by default
            `litakit.home.cache_limit_bytes()`. `float("inf")` never removes anything.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     FeatureStore(folder).entries()
    ()
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, max_bytes: float | None = None) -> None:
        self.folder = home_folder() / "features" if folder is None else Path(folder)
        self.max_bytes = cache_limit_bytes() if max_bytes is None else max_bytes
        self._known_bytes: int | None = None

    def path(self, key: str) -> Path:
        """Return where the features of a key are kept.

        Raises:
            ValueError: the key is not 64 hexadecimal digits.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"a key of the feature store is 64 hexadecimal digits, got {key!r}")
        return self.folder / key[:2] / f"{key}.safetensors"

    def get(self, key: str) -> VideoFeatures | None:
        """Return the features of a key and mark them as used; None where they are missing or unreadable."""
        path = self.path(key)
        try:
            with safe_open(path, framework="pt") as file:
                record = json.loads(file.metadata()["litakit"])
                tensors = {
                    name: file.get_tensor(name) for name in ("features", "pts_seconds", "frame_indices")
                }
            if record["schema_version"] != SCHEMA_VERSION:
                logger.info("features in %s are of schema %s: made anew", path, record["schema_version"])
                return None
            if record["digest"] != _digest(tensors):
                raise ValueError("its content is not what was written")
            video = _from_record(record, tensors)
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            logger.warning("features in %s cannot be read (%s): made anew", path, error)
            with suppress(OSError):  # where others own the store, the file stays
                path.unlink(missing_ok=True)
            return None
        with suppress(OSError):  # a store that is only read has no order of use
            os.utime(path)
        return video

    def put(self, key: str, video: VideoFeatures) -> Path | None:
        """Keep the features of a key; older files go where the store would grow beyond its limit.

        Returns:
            The file, or None where it alone is larger than the store may be.

        Raises:
            OSError: the folder cannot be written, or the disk is full; then nothing is left behind.
        """
        import torch
        from safetensors.torch import save

        path = self.path(key)
        tensors = {
            "features": video.features.detach().cpu().contiguous(),
            "pts_seconds": torch.as_tensor(video.pts_seconds, dtype=torch.float64).contiguous(),
            "frame_indices": torch.as_tensor(video.frame_indices, dtype=torch.int64).contiguous(),
        }
        content = save(tensors, metadata={"litakit": json.dumps(_to_record(video, _digest(tensors)))})
        if len(content) > self.max_bytes:
            logger.info(
                "features of %s are not kept: %d bytes, the store's limit is %s",
                video.info.path,
                len(content),
                self.max_bytes,
            )
            return None
        replaced = path.stat().st_size if path.exists() else 0
        write_atomic(path, content)
        self._grow(len(content) - replaced, kept=path)
        return path

    def entries(self) -> tuple[StoreEntry, ...]:
        """Return what is in the store, the most recently used first; unreadable files are left out."""
        found = []
        for path, status in self._files():
            try:
                with safe_open(path, framework="np") as file:
                    record = json.loads(file.metadata()["litakit"])
                found.append(
                    StoreEntry(
                        key=path.stem,
                        path=path,
                        video=record["video"],
                        start=record["start"],
                        duration=record["duration"],
                        num_bytes=status.st_size,
                        last_used=status.st_mtime,
                    )
                )
            except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
                logger.info("%s is not readable: %s", path, error)
        return tuple(sorted(found, key=lambda entry: -entry.last_used))

    def num_bytes(self) -> int:
        """Return the size of all files of the store, in bytes."""
        return sum(status.st_size for _, status in self._files())

    def clear(self) -> tuple[int, int]:
        """Remove every file of the store, and nothing else; return how many there were, and their bytes."""
        count = total = 0
        for path, status in list(self._files()):
            path.unlink(missing_ok=True)
            count += 1
            total += status.st_size
        self._remove_parts(older_than_seconds=0.0)
        self._known_bytes = 0
        return count, total

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*.safetensors"):
            if _KEY.fullmatch(path.stem):
                try:
                    yield path, path.stat()
                except FileNotFoundError:  # another process was faster
                    continue

    def _grow(self, added_bytes: int, kept: Path) -> None:
        """Count what was added; a limit that seems reached is checked against the folder, then kept to."""
        if self.max_bytes == float("inf"):
            return
        self._known_bytes = self.num_bytes() if self._known_bytes is None else self._known_bytes + added_bytes
        if self._known_bytes <= self.max_bytes:
            return
        self._remove_parts(older_than_seconds=STALE_PART_SECONDS)
        files = sorted(self._files(), key=lambda item: item[1].st_mtime)
        self._known_bytes = sum(status.st_size for _, status in files)
        if self._known_bytes <= self.max_bytes:
            return
        for path, status in files:
            if self._known_bytes <= SHARE_KEPT * self.max_bytes:
                break
            if path != kept:
                path.unlink(missing_ok=True)
                self._known_bytes -= status.st_size

    def _remove_parts(self, older_than_seconds: float) -> None:
        """Remove what a killed process left unfinished."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/.*.part.safetensors"):
            try:
                if time.time() - path.stat().st_mtime >= older_than_seconds:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue


def _digest(tensors: dict[str, Tensor]) -> str:
    """What tells a file whose bytes have changed since: safetensors has no checksum of its own."""
    return " ".join(tensor_digest(tensors[name]) for name in sorted(tensors))


def _to_record(video: VideoFeatures, digest: str) -> dict[str, Any]:
    info = {
        field.name: getattr(video.info, field.name)
        for field in dataclasses.fields(video.info)
        if field.name != "path"
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "digest": digest,
        "video": str(video.info.path),
        "info": info,
        "duration": video.duration,
        "start": video.start,
        "backend": video.backend,
        "sampling": video.sampling,
        "notes": list(video.notes),
    }


def _from_record(record: dict[str, Any], tensors: dict[str, Tensor]) -> VideoFeatures:
    facts: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record["info"].items()
    }
    return VideoFeatures(
        features=tensors["features"],
        info=VideoInfo(path=record["video"], **facts),
        duration=record["duration"],
        start=record["start"],
        pts_seconds=tensors["pts_seconds"].numpy(),
        frame_indices=tensors["frame_indices"].numpy(),
        backend=record["backend"],
        sampling=record["sampling"],
        notes=tuple(record["notes"]),
    )
