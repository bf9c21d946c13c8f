"""Coverage: what of a data set is there, what is missing, and what is wrong with it, each by its id."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

from litakit.data.annotations import Annotation, AnnotationError
from litakit.data.manifests import Manifest, Media, Part, shipped_manifests
from litakit.data.media import annotation_files, bare_name, find_media, media_of
from litakit.data.readers import read_annotations
from litakit.files import write_atomic
from litakit.timestamps import find_timestamps
from litakit.video import VideoError, probe

SCHEMA_VERSION = 1
DURATION_TOLERANCE = 0.02
"""Of the duration: what the annotations say may differ from the video by so much."""

Progress = Callable[[int, int], None]
"""Called with the videos opened so far and all there are to open."""


class Problem(NamedTuple):
    """One thing that is wrong: a kind, the id of the annotation or video, and what was found."""

    kind: str
    id: str
    reason: str


@dataclass(frozen=True)
class PartCoverage:
    """What of one part of a data set is there.

    Attributes:
        dataset: name of the manifest.
        split: of the part.
        tasks: what the part is for.
        files: its annotation files below the root; empty where there are none, and so nothing else is known.
        expected: annotations by the manifest; None where it does not say.
        expected_videos: videos by the manifest; None where it does not say.
        annotated: annotations in the files: events, questions, or conversations.
        annotated_videos: different videos that they name.
        found: of those, the ones that are there and can be opened.
        problems: what is wrong.
    """

    dataset: str
    split: str
    tasks: tuple[str, ...]
    files: tuple[str, ...]
    expected: int | None
    expected_videos: int | None
    annotated: int
    annotated_videos: int
    found: int
    problems: tuple[Problem, ...]


KINDS = {
    "unreadable annotations": "the annotation file cannot be read",
    "missing": "no such video",
    "unreadable": "the video cannot be opened",
    "duration": "the duration is off by more than 2 %",
    "outside": "a span outside the video",
    "reversed": "a span that ends before it starts",
    "empty": "empty text",
    "duplicate": "an id that comes twice",
    "leak": "a video of a training and of an evaluation part",
}
"""The kinds of problems, in words."""


@dataclass(frozen=True)
class CoverageReport:
    """What of several data sets is there; it prints as a table."""

    root: str
    parts: tuple[PartCoverage, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with what is there."""
        return not any(part.problems for part in self.parts)

    def to_json(self) -> str:
        """Return the report as JSON, each problem with its id."""
        parts = [
            {**asdict(part), "problems": [problem._asdict() for problem in part.problems]}
            for part in self.parts
        ]
        record = {"schema_version": SCHEMA_VERSION, "root": self.root, "parts": parts}
        return json.dumps(record, ensure_ascii=False, indent=1)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report as JSON, whole or not at all."""
        return write_atomic(path, self.to_json() + "\n")

    def rows(self) -> list[list[str]]:
        """Return the table: a head, and a row for each part."""
        head = ["data set", "split", "tasks", "annotations", "videos", "found", "problems"]
        return [head, *(_row(part) for part in self.parts)]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        head, *rows = self.rows()
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def check(
    root: str | os.PathLike[str],
    manifests: Sequence[Manifest] | None = None,
    *,
    progress: Progress | None = None,
) -> CoverageReport:
    """Look at every annotation and open every video of data sets below a root.

    Args:
        root: the data root.
        manifests: of the data sets; None takes those that come with litakit.
        progress: called after each video that was opened.

    Raises:
        NotADirectoryError: there is no such root.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such data root; expected a folder that holds the data sets")
    chosen = shipped_manifests() if manifests is None else list(manifests)
    parts = [_Read(folder, manifest, part) for manifest in chosen for part in manifest.parts]
    opened = _open_all(parts, progress)
    leaks = _leaks(parts)
    return CoverageReport(str(folder), tuple(part.coverage(opened, leaks) for part in parts))


Opened = dict[Path, float | VideoError | None]
"""Duration of each video by its path; None for an image; why it cannot be opened."""


class _Read:
    """One part's annotations, and where their videos are."""

    def __init__(self, root: Path, manifest: Manifest, part: Part) -> None:
        self.dataset = manifest.name
        self.part = part
        self.media: Media = media_of(manifest, part)
        files = annotation_files(root, part)
        if not any(
            file.is_file() for file in files
        ):  # the data set is not here; one file of several is missed
            files = []
        self.names = tuple(file.relative_to(root).as_posix() for file in files)
        self.annotations: list[Annotation] = []
        self.problems: list[Problem] = []
        for file, name in zip(files, self.names, strict=True):
            try:
                self.annotations += read_annotations(file, part.reader)
            except AnnotationError as error:
                self.problems.append(Problem("unreadable annotations", name, str(error)))
        self.places: dict[str, Path | None] = {}
        for annotation in self.annotations:
            if annotation.video not in self.places:
                self.places[annotation.video] = self._find(root, annotation.video)

    def _find(self, root: Path, video: str) -> Path | None:
        try:
            place = find_media(root, self.media, video)
        except AnnotationError as error:
            self.problems.append(Problem("missing", video, str(error)))
            return None
        if place is None:
            where = f"{self.media.folder}/{self.media.name_of(video)}"
            endings = f" ({', '.join(self.media.suffixes)})" if self.media.suffixes else ""
            self.problems.append(Problem("missing", video, f"expected {where}{endings}"))
        return place

    def coverage(self, opened: Opened, leaks: dict[str, str]) -> PartCoverage:
        """Return what is there and what is wrong, given what opening the videos has shown."""
        problems = list(self.problems)
        found = 0
        for video, place in self.places.items():
            state = opened[place] if place is not None else None
            if isinstance(state, VideoError):
                problems.append(Problem("unreadable", video, state.reason))
            else:
                found += place is not None
            if video in leaks and self.part.use == "train":
                problems.append(Problem("leak", video, f"also in {leaks[video]}"))
        ids = Counter(annotation.id for annotation in self.annotations)
        problems += [Problem("duplicate", name, f"{n} times") for name, n in ids.items() if n > 1]
        for annotation in self.annotations:
            place = self.places[annotation.video]
            state = opened[place] if place is not None else None
            measured = state if isinstance(state, float) else None
            problems += _problems_of(annotation, measured, expects_answers=self.part.use == "train")
        whole = self.part.reader == "conversations_json"
        return PartCoverage(
            dataset=self.dataset,
            split=self.part.split,
            tasks=self.part.tasks,
            files=self.names,
            expected=self.part.counts.annotations,
            expected_videos=self.part.counts.videos,
            annotated=sum(1 if whole else len(a.captions) + len(a.pairs) for a in self.annotations),
            annotated_videos=len(self.places),
            found=found,
            problems=tuple(problems),
        )


def _open_all(parts: Sequence[_Read], progress: Progress | None) -> Opened:
    """Open each video once, however many parts name it."""
    waiting = {place: part.media for part in parts for place in part.places.values() if place is not None}
    opened: Opened = {}
    for place, media in waiting.items():
        try:
            opened[place] = probe(place, fps=media.fps).duration
        except VideoError as error:
            opened[place] = error
        if progress is not None:
            progress(len(opened), len(waiting))
    return opened


def _leaks(parts: Sequence[_Read]) -> dict[str, str]:
    """Return where the videos of evaluation parts are judged, by the names that training parts give them."""
    judged = {
        bare_name(video): f"{part.dataset} {part.part.split}"
        for part in parts
        if part.part.use == "evaluation"
        for video in part.places
    }
    return {
        video: judged[bare_name(video)]
        for part in parts
        if part.part.use == "train"
        for video in part.places
        if bare_name(video) in judged
    }


def _problems_of(annotation: Annotation, measured: float | None, *, expects_answers: bool) -> list[Problem]:
    problems: list[Problem] = []
    told = annotation.duration
    if told is not None and measured is not None and abs(told - measured) > DURATION_TOLERANCE * measured:
        reason = f"{told:g} s by the annotation, {measured:.2f} s by the video"
        problems.append(Problem("duration", annotation.id, reason))
    duration = measured if measured is not None else told
    spans = [(start, end) for start, end, _ in annotation.captions]
    for pair in annotation.pairs:
        times = find_timestamps(pair.answer)[:2]
        spans += [(times[0], times[1])] if len(times) == 2 else []
    for start, end in spans:
        if end < start:
            problems.append(Problem("reversed", annotation.id, f"{start:g} s to {end:g} s"))
        if min(start, end) < 0 or (
            duration is not None and max(start, end) > duration * (1 + DURATION_TOLERANCE)
        ):
            within = f" of {duration:.2f} s" if duration is not None else ""
            problems.append(Problem("outside", annotation.id, f"{start:g} s to {end:g} s{within}"))
    texts = [caption for *_, caption in annotation.captions]
    texts += [pair.question for pair in annotation.pairs]
    texts += [pair.answer for pair in annotation.pairs if expects_answers]
    problems += [
        Problem("empty", annotation.id, "a text without words") for words in texts if not words.strip()
    ]
    return problems


def _row(part: PartCoverage) -> list[str]:
    start = [part.dataset, part.split, ", ".join(part.tasks)]
    if not part.files:
        return [*start, "-", "-", "-", "no annotation file here"]
    counts = Counter(problem.kind for problem in part.problems)
    return [
        *start,
        f"{part.annotated}" + (f" of {part.expected}" if part.expected is not None else ""),
        f"{part.annotated_videos}"
        + (f" of {part.expected_videos}" if part.expected_videos is not None else ""),
        f"{part.found} ({part.found / max(1, part.annotated_videos):.0%})",
        ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]) or "none",
    ]
