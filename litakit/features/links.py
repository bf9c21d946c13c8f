"""FeatureFolder: the features that training reads, found by a video's path without opening the video."""

from __future__ import annotations

import json
import logging
import math
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from litakit.features.identity import key_digest
from litakit.features.reading import read_features
from litakit.features.store import FeatureStore, VideoFeatures
from litakit.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

    from litakit.features.encoder import VideoEncoder

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
HOW_TO_MAKE = "make it with `litakit data features`"


@dataclass(frozen=True)
class EncoderFacts:
    """Whose features a folder holds, and what they look like.

    Attributes:
        identity: of the encoder, see `VideoEncoder.identity`.
        model: folder that its weights came from, as it was named.
        num_frames: frames that a video is sampled to.
        num_tokens, width: shape of a video's features.
        dtype: type of the features, as torch calls it, such as "float16".
    """

    identity: str
    model: str
    num_frames: int
    num_tokens: int
    width: int
    dtype: str

    @classmethod
    def of(cls, encoder: VideoEncoder, model: str | os.PathLike[str]) -> EncoderFacts:
        """Return the facts about an encoder whose weights came from a folder."""
        config = encoder.model.config
        return cls(
            identity=encoder.identity,
            model=str(model),
            num_frames=config.num_frames,
            num_tokens=config.num_visual_tokens,
            width=config.feature_width,
            dtype=str(encoder.model.vision_tower.dtype).removeprefix("torch."),
        )


class SourceStamp(NamedTuple):
    """What tells, without reading it, that a video has changed.

    Attributes:
        size: bytes of a file, entries of a folder of frames.
        mtime_ns: when it was last written to; of a folder, when a frame last came or went.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, source: str | os.PathLike[str]) -> SourceStamp:
        """Return the stamp of a file or folder.

        Raises:
            OSError: it is not there, or cannot be looked at.
        """
        status = Path(source).stat()
        is_folder = stat.S_ISDIR(status.st_mode)
        size = sum(1 for _ in Path(source).iterdir()) if is_folder else status.st_size
        return cls(size, status.st_mtime_ns)


class FeatureLink(NamedTuple):
    """What leads from a video to its features.

    Attributes:
        key: of the features.
        duration: seconds of the video, which a model is told; None for an image.
        stamp: of the video when it was encoded.
        num_bytes: size of the file with the features.
    """

    key: str
    duration: float | None
    stamp: SourceStamp
    num_bytes: int


class FeatureFolder:
    """Features of the videos below a data root, of one encoder: a `FeatureStore` without a limit, and links.

    A link is a small file for each video that says where its features are; its name follows from the video's
    path, so nothing is searched. Videos of the same content share their features.

    Args:
        folder: where features and links are.
        identity: of the encoder; None takes the only one there is.

    Raises:
        FileNotFoundError: nothing was made in the folder, or not with this encoder.
        ValueError: several encoders have made features there, and none was named.

    Attributes:
        encoder: whose features they are.
        store: where they are kept by their keys.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: str | None = None) -> None:
        self.folder = Path(folder)
        self.encoder = _choose(self.folder, identity)
        self.store = FeatureStore(folder, max_bytes=math.inf)
        self._links = os.fspath(self.folder / "links")

    @classmethod
    def create(cls, folder: str | os.PathLike[str], facts: EncoderFacts) -> FeatureFolder:
        """Return a folder that an encoder's features can be added to, made if it is not there.

        Only one process at a time may make a folder, as with `add`.

        Raises:
            OSError: it cannot be written.
        """
        record = {"schema_version": SCHEMA_VERSION, **asdict(facts)}
        place = _encoder_file(Path(folder), facts.identity)
        _remove_parts(place)
        if not place.exists():
            write_atomic(place, json.dumps(record, indent=1) + "\n")
        return cls(folder, facts.identity)

    def link_path(self, path: str, fps: float | None = None) -> Path:
        """Return where the link of a video is kept; arguments as in `link_of`.

        Raises:
            ValueError: the path leads out of the data root.
        """
        return Path(self._link_name(path, fps))

    def link_of(
        self, path: str, fps: float | None = None, *, root: str | os.PathLike[str] | None = None
    ) -> FeatureLink | None:
        """Return what leads from a video to its features; None where nothing does.

        Args:
            path: of the video below the data root, with forward slashes.
            fps: frames a second, of a folder of frames.
            root: the data root, to make sure that the video is what it was when it was encoded (by its size
                and time of writing) and that its features are there. None believes the link: the video itself
                need not be there.

        Raises:
            ValueError: the path leads out of the data root.
            OSError: the link, or with `root` the video, cannot be looked at.
        """
        link = self._read_link(path, fps)
        if link is None or root is None:
            return link
        try:
            is_same = SourceStamp.of(Path(root) / path) == link.stamp
            is_there = self.store.path(link.key).stat().st_size == link.num_bytes
        except (FileNotFoundError, NotADirectoryError):
            return None
        return link if is_same and is_there else None

    def key_of(
        self, path: str, fps: float | None = None, *, root: str | os.PathLike[str] | None = None
    ) -> str | None:
        """Return the key of a video's features; None where there are none; arguments as in `link_of`."""
        link = self.link_of(path, fps, root=root)
        return None if link is None else link.key

    def get(
        self, path: str, fps: float | None = None, *, root: str | os.PathLike[str] | None = None
    ) -> VideoFeatures | None:
        """Return all that is kept of a video, checked; arguments as in `link_of`."""
        key = self.key_of(path, fps, root=root)
        return None if key is None else self.store.get(key)

    def read_into(self, key: str, out: Tensor) -> None:
        """Read features straight into a tensor: one copy, unchecked but for type, shape and length.

        Args:
            key: see `key_of`.
            out: (num_tokens, width), contiguous, on the CPU, of the features' type.

        Raises:
            FileNotFoundError: there are no such features.
            ValueError: they are of another type or shape, or cut off; the file is named.
        """
        read_features(self.store.path(key), out)

    def add(
        self, path: str, video: VideoFeatures, key: str, stamp: SourceStamp, fps: float | None = None
    ) -> None:
        """Keep a video's features, if they are not kept, and the link to them; both whole or not at all.

        What a killed process left unfinished of the two files is removed, so only one process at a time may
        add a video.

        Args:
            path: as in `link_of`.
            video: its features.
            key: as `VideoEncoder.key` gives it.
            stamp: of the video before it was read.
            fps: as in `link_of`.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        features, link = self.store.path(key), self.link_path(path, fps)
        _remove_parts(features)
        _remove_parts(link)
        if not features.exists():
            self.store.put(key, video)
        record = {
            "schema_version": SCHEMA_VERSION,
            "path": str(PurePosixPath(path)),
            "fps": fps,
            "size": stamp.size,
            "mtime_ns": stamp.mtime_ns,
            "key": key,
            "num_bytes": features.stat().st_size,
            "duration": video.duration,
        }
        write_atomic(link, json.dumps(record) + "\n")

    def _link_name(self, path: str, fps: float | None) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or not pure.parts:
            raise ValueError(f"expected a path below the data root, with forward slashes, got {path!r}")
        digest = key_digest(
            {
                "path": str(pure),
                "fps": None if fps is None else float(fps),
                "encoder": self.encoder.identity,
            }
        )
        return f"{self._links}/{digest[:2]}/{digest}.json"

    def _read_link(self, path: str, fps: float | None) -> FeatureLink | None:
        name = self._link_name(path, fps)
        try:
            with open(name, "rb") as file:  # noqa: PTH123  half the time of Path.read_bytes
                record = json.loads(file.read())
            if record["schema_version"] != SCHEMA_VERSION:
                logger.info("the link %s is of schema %s: made anew", name, record["schema_version"])
                return None
            stamp = SourceStamp(record["size"], record["mtime_ns"])
            return FeatureLink(record["key"], record["duration"], stamp, record["num_bytes"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("the link %s cannot be read (%s): it counts as missing", name, error)
            return None


def list_encoders(folder: str | os.PathLike[str]) -> tuple[EncoderFacts, ...]:
    """Return whose features a folder holds.

    Raises:
        ValueError: a record of the folder cannot be read.

    >>> list_encoders("no/such/folder")
    ()
    """
    # Not those that begin with a dot, which are not finished.
    return tuple(_read_encoder(place) for place in sorted(Path(folder).glob("encoders/[!.]*.json")))


def _choose(folder: Path, identity: str | None) -> EncoderFacts:
    if identity is not None:
        place = _encoder_file(folder, identity)
        if not place.exists():
            raise FileNotFoundError(f"{folder} has no features of the encoder {identity}: {HOW_TO_MAKE}")
        return _read_encoder(place)
    found = list_encoders(folder)
    if not found:
        raise FileNotFoundError(f"{folder} is no folder of features: {HOW_TO_MAKE}")
    if len(found) > 1:
        known = "; ".join(f"{facts.identity} ({facts.model}, {facts.dtype})" for facts in found)
        raise ValueError(f"{folder} has features of {len(found)} encoders, name one by its identity: {known}")
    return found[0]


def _encoder_file(folder: Path, identity: str) -> Path:
    return folder / "encoders" / f"{identity}.json"


def _read_encoder(place: Path) -> EncoderFacts:
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        if record["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"expected schema {SCHEMA_VERSION}, got {record['schema_version']}")
        return EncoderFacts(**{field.name: record[field.name] for field in fields(EncoderFacts)})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place}: cannot be read as the record of an encoder ({error})") from error


def _remove_parts(place: Path) -> None:
    """Remove what a killed process left unfinished of a file."""
    for part in place.parent.glob(f".{place.stem}.*.part{place.suffix}"):
        with suppress(FileNotFoundError):
            part.unlink()
