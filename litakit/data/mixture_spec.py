"""What a mixture is made of, as one YAML file: tasks, their sources, and how often each is drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import Field, field_validator

from litakit.data._yaml import ManifestError, StrictModel, load_yaml
from litakit.data.manifests import NAME, SHIPPED, Manifest, Part, Task, find_yaml, load_manifest

MIXTURES = SHIPPED / "mixtures"
"""Folder of the mixtures that come with litakit."""

DEFAULT_EPOCH = 50_000

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Source(StrictModel):
    """Where samples of a task come from.

    Attributes:
        dataset: name of a manifest that comes with litakit, or a YAML file beside the mixture's.
        split: of the data set.
        weight: how often it is drawn, against the other sources of its task.
    """

    dataset: str
    split: Annotated[str, Field(pattern=NAME)] = "train"
    weight: Weight = 1.0


class TaskShare(StrictModel):
    """A task, and how often it is drawn against the others."""

    task: Task
    weight: Weight = 1.0
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]


class MixtureSpec(StrictModel):
    """A mixture of tasks and data sets.

    Attributes:
        name: what it is called on the command line.
        title: what it is, in a line.
        about: in a sentence or two.
        epoch_size: samples drawn in an epoch, with replacement.
        num_epochs: how many the recipe goes through.
        tasks: what is drawn.
    """

    name: Annotated[str, Field(pattern=NAME)]
    title: str
    about: str = ""
    epoch_size: Annotated[int, Field(gt=0)] = DEFAULT_EPOCH
    num_epochs: Annotated[int, Field(gt=0)] = 1
    tasks: Annotated[tuple[TaskShare, ...], Field(min_length=1)]

    @field_validator("tasks")
    @classmethod
    def _each_task_once(cls, tasks: tuple[TaskShare, ...]) -> tuple[TaskShare, ...]:
        names = [share.task for share in tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"each task stands once, with all its sources; got {', '.join(names)}")
        return tasks


class MixturePart(NamedTuple):
    """One source of a mixture: parts of a manifest that are read for a task, and how often it is drawn.

    Attributes:
        task: what samples are made.
        manifest: the data set.
        split: of it.
        parts: those of the split that the task is made of.
        task_weight: of the task against the other tasks.
        weight: of the source against the others of its task.
    """

    task: Task
    manifest: Manifest
    split: str
    parts: tuple[Part, ...]
    task_weight: float
    weight: float

    @property
    def file_name(self) -> str:
        """What the samples' file is called."""
        return f"{self.manifest.name}.{self.split}.{self.task}.jsonl"


def load_mixture(path: str | os.PathLike[str]) -> tuple[MixtureSpec, tuple[MixturePart, ...]]:
    """Read a mixture and the manifests of its sources.

    Args:
        path: a YAML file, or the name of a mixture that comes with litakit.

    Raises:
        ManifestError: not there, not YAML, or not a mixture, with file, line and field; or a source without
            such a split and task.

    >>> spec, parts = load_mixture("lita")
    >>> spec.epoch_size * spec.num_epochs, len(parts)
    (500000, 7)
    """
    file = find_yaml(path, MIXTURES, "mixture")
    spec = load_yaml(file, MixtureSpec)
    parts = []
    for share in spec.tasks:
        for source in share.sources:
            beside = file.parent / source.dataset
            is_file = beside.suffix in (".yaml", ".yml")
            manifest = load_manifest(beside if is_file else source.dataset)
            chosen = _parts(manifest, source.split, share.task)
            if not chosen:
                raise ManifestError(
                    f"{file}: {manifest.name} has no part of the split {source.split!r} for the task "
                    f"{share.task!r}; it has {_offers(manifest)}"
                )
            parts.append(MixturePart(share.task, manifest, source.split, chosen, share.weight, source.weight))
    _check_names(parts)
    return spec, tuple(parts)


def mixture_of(
    manifests: Sequence[Manifest], split: str = "train"
) -> tuple[MixtureSpec, tuple[MixturePart, ...]]:
    """Return the mixture of everything in a split of some data sets: all tasks alike, all sources alike.

    Raises:
        ManifestError: none of them has the split.
    """
    parts = [
        MixturePart(task, manifest, split, chosen, 1.0, 1.0)
        for task in ("dvc", "event_loc", "vidqa", "imgqa", "rtl")
        for manifest in manifests
        if (chosen := _parts(manifest, split, task))
    ]
    if not parts:
        offers = "; ".join(f"{manifest.name} has {_offers(manifest)}" for manifest in manifests)
        raise ManifestError(f"no part of the split {split!r}: {offers}")
    _check_names(parts)
    names = [manifest.name for manifest in manifests]
    shares = {
        part.task: TaskShare(
            task=part.task,
            sources=tuple(
                Source(dataset=other.manifest.name, split=split) for other in parts if other.task == part.task
            ),
        )
        for part in parts
    }
    spec = MixtureSpec(name=names[0], title=f"{', '.join(names)}: {split}", tasks=tuple(shares.values()))
    return spec, tuple(parts)


def shipped_mixtures() -> list[MixtureSpec]:
    """Return the mixtures that come with litakit, by name."""
    return [load_yaml(file, MixtureSpec) for file in sorted(MIXTURES.glob("*.yaml"))]


def find_parts(
    names: Sequence[str | os.PathLike[str]], split: str | None = None
) -> tuple[MixtureSpec, tuple[MixturePart, ...]]:
    """Return the mixture that is named; or that of everything in a split of the data sets that are named.

    Args:
        names: a mixture's name or YAML file; or those of manifests.
        split: of the manifests, by default "train"; a mixture says its splits itself.

    Raises:
        ManifestError: as `load_mixture` and `mixture_of`.
    """
    if len(names) == 1 and is_mixture(names[0]):
        if split is not None:
            raise ManifestError(f"{names[0]} is a mixture, which says its splits itself: leave the split out")
        return load_mixture(names[0])
    return mixture_of([load_manifest(name) for name in names], split or "train")


def is_mixture(path: str | os.PathLike[str]) -> bool:
    """Whether a name or a YAML file is a mixture's, and not a manifest's.

    Raises:
        ManifestError: neither has that name.

    >>> is_mixture("lita"), is_mixture("youcook2")
    (True, False)
    """
    file = Path(path)
    if file.suffix in (".yaml", ".yml"):
        try:
            return "parts" not in yaml.safe_load(file.read_bytes())
        except (OSError, yaml.YAMLError, TypeError):
            return False  # reading it as a manifest says what is wrong
    sets, mixtures = (sorted(known.stem for known in place.glob("*.yaml")) for place in (SHIPPED, MIXTURES))
    if file.name not in (*sets, *mixtures) and not file.exists():
        raise ManifestError(
            f"{path}: no such data set or mixture; give a YAML file, a data set out of {', '.join(sets)}, "
            f"or a mixture out of {', '.join(mixtures)}"
        )
    return file.name in mixtures


def _check_names(parts: Sequence[MixturePart]) -> None:
    files = [part.file_name for part in parts]
    twice = sorted({part.manifest.name for part in parts if files.count(part.file_name) > 1})
    if twice:
        raise ManifestError(
            f"{', '.join(twice)}: two sources of one task, name and split, whose samples would be one file; "
            "give each data set a name of its own, and name it once"
        )


def _parts(manifest: Manifest, split: str, task: Task) -> tuple[Part, ...]:
    return tuple(part for part in manifest.parts if part.split == split and task in part.tasks)


def _offers(manifest: Manifest) -> str:
    return ", ".join(f"{part.split} ({', '.join(part.tasks)})" for part in manifest.parts)
