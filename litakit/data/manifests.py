"""Manifests: what a data set is, where it lies and how to read it, as one YAML file each."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from litakit.data._yaml import ManifestError, StrictModel, load_yaml

Task = Literal["dvc", "event_loc", "vidqa", "imgqa", "rtl"]
AnswerStyle = Literal["word", "phrase", "free"]
"""How long a data set's answers are and are asked to be: a word or phrase, a short phrase, as they come."""

Reader = Literal[
    "captions_json",
    "qa_json",
    "conversations_json",
    "rtl_train_json",
    "rtl_val_json",
    "jsonl",
    "csv",
    "webvtt",
    "elan",
    "charades_sta",
    "qvhighlights",
]

NAME = r"^[a-z0-9][a-z0-9_-]*$"
SHIPPED = Path(__file__).parents[2] / "data_manifests"
"""Folder of the manifests that come with litakit; beside the package in a checkout and in an installation."""


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts or "\\" in path:
        raise ValueError(f"expected a path inside the data root, such as 'set/videos', got {path!r}")
    return path


InsidePath = Annotated[str, AfterValidator(_inside)]
"""A path below the data root, with forward slashes."""


class Counts(StrictModel):
    """How much there should be, by a source that can be looked up; None where none is known.

    Attributes:
        videos: videos (or images) that the part refers to.
        annotations: events of dense captions, question-answer pairs, or conversations.
        source: where the figures stand.
    """

    videos: Annotated[int, Field(ge=0)] | None = None
    annotations: Annotated[int, Field(ge=0)] | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _figures_have_a_source(self) -> Counts:
        if self.source is None and (self.videos is not None or self.annotations is not None):
            raise ValueError("a count needs its source: say where the figure stands, or leave it null")
        return self


class Media(StrictModel):
    """Where the videos, folders of frames or images lie.

    Attributes:
        kind: "video" files, "frames" (one folder of images a video) or "image" files.
        folder: below the data root.
        name: what lies in the folder for a video called `{id}`.
        suffixes: file endings to try where `name` has none; the first that exists is taken.
        fps: frames a second, of folders of frames.
    """

    kind: Literal["video", "frames", "image"]
    folder: InsidePath
    name: str = "{id}"
    suffixes: tuple[str, ...] = ()
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def name_of(self, video: str) -> str:
        """Return what lies in the folder for a video that the annotations call so."""
        return self.name.replace("{id}", video)

    def expected_name_of(self, video: str) -> str:
        """Return what it would be called where it is not there: with the first ending, if it has none.

        >>> Media(kind="video", folder="set", suffixes=(".mp4", ".webm")).expected_name_of("a")
        'a.mp4'
        """
        name = self.name_of(video)
        return name if name.endswith(self.suffixes or ("",)) else name + self.suffixes[0]

    @field_validator("name")
    @classmethod
    def _name_holds_the_id(cls, name: str) -> str:
        if "{id}" not in name:
            raise ValueError(f"name must hold {{id}}, the video's name in the annotations, got {name!r}")
        return name

    @model_validator(mode="after")
    def _frames_have_a_rate(self) -> Media:
        if (self.fps is None) == (self.kind == "frames"):
            raise ValueError(
                "fps belongs to folders of frames, which have no times of their own; no other kind has it"
            )
        return self


class Part(StrictModel):
    """Annotations of one kind, of one split.

    Attributes:
        split: "train", "val" or the like; several parts may belong to one.
        annotations: files below the data root; a pattern with * may stand for many.
        reader: the format they are in.
        tasks: what samples are made of them.
        use: what the part is for; a video in both is reported by the data check.
        style: how long its answers are.
        media: where its videos lie, if not where the other parts' do.
        counts: how much there should be.
    """

    split: Annotated[str, Field(pattern=NAME)]
    annotations: Annotated[tuple[InsidePath, ...], Field(min_length=1)]
    reader: Reader
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    use: Literal["train", "evaluation"]
    style: AnswerStyle = "free"
    media: Media | None = None
    counts: Counts = Counts()


class Manifest(StrictModel):
    """A data set: what it is, what one may do with it, where it lies and how it is read.

    Attributes:
        name: what it is called in mixtures and on the command line.
        title: its full name.
        about: what it is, in a sentence or two.
        licence: of the annotations and of the videos.
        obtain: where and how to get it.
        media: where its videos lie.
        parts: what it is annotated with.
        known_losses: what is known to be gone, in words; None where nothing is known.
        citation: as its authors want to be cited.
    """

    name: Annotated[str, Field(pattern=NAME)]
    title: str
    about: str
    licence: str
    obtain: str
    media: Media
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    known_losses: str | None = None
    citation: str | None = None


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Args:
        path: a YAML file, or the name of a manifest that comes with litakit.

    Raises:
        ManifestError: not there, not YAML, or not a manifest; with file, line and field.

    >>> load_manifest("activitynet-rtl").parts[1].counts.annotations
    229
    """
    return load_yaml(find_yaml(path, SHIPPED, "manifest"), Manifest)


def shipped_manifests() -> list[Manifest]:
    """Return the manifests that come with litakit, by name."""
    return [load_manifest(file) for file in sorted(SHIPPED.glob("*.yaml"))]


def find_yaml(path: str | os.PathLike[str], shipped: Path, kind: str) -> Path:
    """Return a YAML file that is given by its path, or by the name that it has among those of litakit.

    Raises:
        ManifestError: there is none.
    """
    file = Path(path)
    if file.suffix in (".yaml", ".yml") or file.exists():
        return file
    known = shipped / f"{file.name}.yaml"
    if len(file.parts) == 1 and known.exists():
        return known
    names = ", ".join(sorted(known.stem for known in shipped.glob("*.yaml")))
    raise ManifestError(f"{path}: no such {kind}; give a YAML file, or one of {names}")
