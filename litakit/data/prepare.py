"""Prepare: annotation files to samples as JSON lines, the same bytes from the same files every time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from litakit.data.annotations import AnnotationError
from litakit.data.manifests import Media, Part
from litakit.data.media import annotation_files, find_media, media_of
from litakit.data.mixture_spec import MixturePart, MixtureSpec
from litakit.data.readers import read_annotations
from litakit.data.samples import Sample, to_line
from litakit.data.tasks import samples_of
from litakit.files import replacing, write_atomic
from litakit.progress import Progress

SCHEMA_VERSION = 1
MIXTURE_FILE = "mixture.json"
LEFT_OUT_FILE = "left_out.jsonl"


class NoSample(NamedTuple):
    """What of a data set became no sample, and why."""

    dataset: str
    split: str
    task: str
    id: str
    reason: str


@dataclass(frozen=True)
class PreparedFile:
    """One file of samples: those of a data set's split for a task."""

    task: str
    dataset: str
    split: str
    task_weight: float
    weight: float
    file: str
    num_samples: int


@dataclass(frozen=True)
class Prepared:
    """What was written; it prints as a table and a line on what was left out."""

    folder: Path
    files: tuple[PreparedFile, ...]
    left_out: tuple[NoSample, ...]

    def __str__(self) -> str:
        width = max(len(file.file) for file in self.files)
        lines = [f"{file.file:{width}}  {file.num_samples:,} samples" for file in self.files]
        if self.left_out:
            lines.append(f"{len(self.left_out):,} left out, each with its reason in {LEFT_OUT_FILE}")
        return "\n".join(lines)


def prepare(
    spec: MixtureSpec,
    parts: Sequence[MixturePart],
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    only_found: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Write the samples of a mixture: a file for each source and task, `mixture.json`, `left_out.jsonl`.

    Each file is written whole or not at all; `mixture.json`, without which the folder is no mixture, goes
    first and comes last, so that old and new files are never read together. What an annotation holds that
    cannot be a sample (a reversed span, a text without words) is left out and listed, and so is an entry that
    is there twice, word for word. Other entries of one id stay, called `id~2` and so on.

    Args:
        spec: the mixture.
        parts: its sources, as `load_mixture` gives them.
        root: the data root.
        out: folder to write to.
        only_found: leave out samples whose video is not there, and list them too.
        progress: called after each file with the files done and all there are.

    Raises:
        NotADirectoryError: there is no such root.
        AnnotationError: annotation files that are missing, all of them named; or one that cannot be read.
        OSError: the folder cannot be written.
    """
    root, out = Path(root), Path(out)
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: no such data root; expected a folder that holds the data sets")
    _check_files(root, parts)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file: expected a folder to write samples to")
    (out / MIXTURE_FILE).unlink(missing_ok=True)
    files, left_out = [], []
    places: dict[tuple[str, str], Path | None] = {}
    for index, part in enumerate(parts):
        lost: list[NoSample] = []
        count = 0
        with replacing(out / part.file_name) as temporary, temporary.open("xb") as file:
            for sample in _samples(root, part, lost, places, only_found):
                file.write(to_line(sample).encode() + b"\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        if not count:
            lost.append(NoSample(part.manifest.name, part.split, part.task, "", "it makes no sample at all"))
        left_out += lost
        files.append(
            PreparedFile(
                task=part.task,
                dataset=part.manifest.name,
                split=part.split,
                task_weight=part.task_weight,
                weight=part.weight,
                file=part.file_name,
                num_samples=count,
            )
        )
        if progress is not None:
            progress(index + 1, len(parts))
    lines = [json.dumps(entry._asdict(), ensure_ascii=False) + "\n" for entry in left_out]
    write_atomic(out / LEFT_OUT_FILE, "".join(lines))
    write_atomic(out / MIXTURE_FILE, json.dumps(_record(spec, files), ensure_ascii=False, indent=1) + "\n")
    return Prepared(out, tuple(files), tuple(left_out))


def _record(spec: MixtureSpec, files: Sequence[PreparedFile]) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "name": spec.name,
        "title": spec.title,
        "epoch_size": spec.epoch_size,
        "num_epochs": spec.num_epochs,
        "sources": [vars(file) for file in files],
    }


def _check_files(root: Path, parts: Sequence[MixturePart]) -> None:
    missing = {
        f"{source.manifest.name}: {', '.join(part.annotations)}"
        for source in parts
        for part in source.parts
        if not (files := annotation_files(root, part)) or not all(file.is_file() for file in files)
    }
    if missing:
        raise AnnotationError(
            f"{root} lacks annotation files of this mixture: {'; '.join(sorted(missing))}. "
            "`litakit data list NAME` says where a data set is to be had"
        )


def _samples(
    root: Path,
    source: MixturePart,
    lost: list[NoSample],
    places: dict[tuple[str, str], Path | None],
    only_found: bool,
) -> Iterator[Sample]:
    name = source.manifest.name
    seen: dict[str, list[int]] = {}

    def lose(part: Part, what: str, reason: str) -> None:
        lost.append(NoSample(name, part.split, source.task, what, reason))

    for part in source.parts:
        media = media_of(source.manifest, part)
        for file in annotation_files(root, part):
            for annotation in read_annotations(file, part.reader):
                same_id = seen.setdefault(annotation.id, [])
                content = hash((annotation, media.folder))
                if content in same_id:
                    where = file.relative_to(root).as_posix()
                    lose(part, annotation.id, f"it is there twice, word for word, in {where} again")
                    continue
                same_id.append(content)
                number = f"~{len(same_id)}" if len(same_id) > 1 else ""
                try:
                    path, is_there = _path(root, media, annotation.video, places)
                except AnnotationError as error:
                    lose(part, annotation.id, str(error))
                    continue
                if only_found and not is_there:
                    lose(part, annotation.id, f"missing: {path}")
                    continue
                samples, left_out = samples_of(
                    replace(annotation, id=annotation.id + number),
                    source.task,
                    source=name,
                    split=part.split,
                    style=part.style,
                )
                for what, reason in left_out:
                    lose(part, what, reason)
                for sample in samples:
                    yield replace(sample, path=path, fps=media.fps if path else None)


def _path(
    root: Path, media: Media, video: str | None, places: dict[tuple[str, str], Path | None]
) -> tuple[str | None, bool]:
    """Return where a video lies or should lie below the root, and whether it is there; looked up once."""
    if video is None:
        return None, True
    key = (f"{media.folder}/{media.name}", video)
    if key not in places:
        places[key] = find_media(root, media, video)
    place = places[key]
    if place is None:
        return f"{media.folder}/{media.expected_name_of(video)}", False
    return place.relative_to(root).as_posix(), True
