"""Coverage: what of a data set is there, what is missing, and what is wrong with it, each by its id."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from litakit.data.annotations import Annotation, AnnotationError
from litakit.data.coverage_report import KINDS, CoverageReport, PartCoverage, Problem
from litakit.data.manifests import Manifest, Part, shipped_manifests
from litakit.data.media import annotation_files, bare_name, find_media, media_of
from litakit.data.readers import read_annotations
from litakit.progress import Progress
from litakit.timestamps import find_timestamps
from litakit.video import VideoError, VideoInfo
from litakit.video.opening import Source, open_all

__all__ = ["KINDS", "CoverageReport", "PartCoverage", "Problem", "check"]

DURATION_TOLERANCE = 0.02
"""Of the duration: what the annotations say may differ from the video by so much."""

Name = tuple[bool, str]
"""What a video is called in every data set, and whether it is a still image: those are other things."""


def check(
    root: str | os.PathLike[str],
    manifests: Sequence[Manifest] | None = None,
    *,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> CoverageReport:
    """Look at every annotation and open every video of data sets below a root.

    What opening a video shows, and what not, stands at `litakit.video.opening.open_all`. Videos of training
    parts are compared with those of every evaluation part: of the data sets given, and of those that come
    with litakit, where their annotation files are below the root. One of these that cannot be read is among
    the report's parts, since nothing is known of its videos.

    Args:
        root: the data root.
        manifests: of the data sets; None takes those that come with litakit.
        num_workers: decoding processes; None takes one a core, at most 8, and fewer for few videos.
        progress: called after each video that was opened, with their number and how many there are.

    Raises:
        NotADirectoryError: there is no such root.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such data root; expected a folder that holds the data sets")
    shipped = shipped_manifests()
    chosen = shipped if manifests is None else list(manifests)
    parts = [_Part(folder, manifest, part) for manifest in chosen for part in manifest.parts]
    for part in parts:
        part.find_videos(folder)
    judges = [part for part in parts if part.is_judge]
    known = {file for judge in judges for file in judge.files}
    others = [
        _Part(folder, manifest, part)
        for manifest in ([] if manifests is None else shipped)
        for part in manifest.parts
        if part.use == "evaluation"
    ]
    others = [other for other in others if not set(other.files) <= known]
    judges += others
    parts += [other for other in others if other.problems]
    sources = list(dict.fromkeys(source for part in parts for source in part.sources.values() if source))
    opened = dict(zip(sources, open_all(sources, num_workers=num_workers, progress=progress), strict=True))
    judged: dict[Name, list[str]] = {}
    for judge in judges:
        for video in judge.videos:
            names = judged.setdefault(video, [])
            names += [judge.name] if judge.name not in names else []
    return CoverageReport(
        str(folder),
        tuple(part.coverage(opened, judged) for part in parts),
        tuple(dict.fromkeys(judge.name for judge in judges)),
    )


Opened = Mapping[Source, VideoInfo | VideoError]


class _Part:
    """One part's annotations, what is wrong with them, and where their videos are."""

    def __init__(self, root: Path, manifest: Manifest, part: Part) -> None:
        self.dataset = manifest.name
        self.part = part
        self.media = media_of(manifest, part)
        self.annotations: list[Annotation] = []
        self.problems: list[Problem] = [*_unlisted(root, part)]
        self.sources: dict[str, Source | None] = {}
        files = annotation_files(root, part)
        if not any(_is_there(file) for file in files):
            files = []  # the data set is not here; where it is, one file of several is missed
        self.files = tuple(file.relative_to(root).as_posix() for file in files)
        for file, name in zip(files, self.files, strict=True):
            before = len(self.annotations)
            try:
                self.annotations += read_annotations(file, part.reader)
            except AnnotationError as error:
                self._note("unreadable annotations", name, str(error))
            else:
                if len(self.annotations) == before:
                    self._note("unreadable annotations", name, "there is no annotation in it")

    @property
    def name(self) -> str:
        """Data set and split."""
        return f"{self.dataset} {self.part.split}"

    @property
    def is_judge(self) -> bool:
        """Whether models are judged by its videos, and it is here."""
        return self.part.use == "evaluation" and bool(self.files)

    @property
    def videos(self) -> set[Name]:
        """What its videos are called in every data set."""
        return {self._bare(annotation.video) for annotation in self.annotations if annotation.video}

    def find_videos(self, root: Path) -> None:
        """Look for each video that the annotations name."""
        for annotation in self.annotations:
            if annotation.video is not None and annotation.video not in self.sources:
                self.sources[annotation.video] = self._find(root, annotation.video)

    def coverage(self, opened: Opened, judged: Mapping[Name, Sequence[str]]) -> PartCoverage:
        """Return what is there and what is wrong, given what opening the videos has shown."""
        found = 0
        infos: dict[str, VideoInfo] = {}
        for video, source in self.sources.items():
            state = opened[source] if source is not None else None
            if isinstance(state, VideoError):
                self._note("unreadable", video, state.reason)
            elif state is not None:
                found += 1
                infos[video] = state
                for warning in state.warnings:
                    self._note("damaged", video, warning)
            if self.part.use == "train" and self._bare(video) in judged:
                self._note("leak", video, f"also in {' and '.join(judged[self._bare(video)])}")
        ids = Counter(annotation.id for annotation in self.annotations)
        for name, times in ids.items():
            if times > 1:
                self._note("duplicate", name, f"{times} times")
        for annotation in self.annotations:
            info = infos.get(annotation.video) if annotation.video is not None else None
            measured = info.duration if info is not None else None
            self.problems += _problems_of(annotation, measured, expects_answers=self.part.use == "train")
        whole = self.part.reader in ("conversations_json", "qvhighlights")  # counted by entries
        return PartCoverage(
            dataset=self.dataset,
            split=self.part.split,
            tasks=self.part.tasks,
            files=self.files,
            expected=self.part.counts.annotations,
            expected_videos=self.part.counts.videos,
            annotated=sum(1 if whole else len(a.captions) + len(a.pairs) for a in self.annotations),
            annotated_videos=len(self.sources),
            found=found,
            problems=tuple(self.problems),
        )

    def _note(self, kind: str, name: str, reason: str) -> None:
        self.problems.append(Problem(kind, name, reason))

    def _bare(self, video: str) -> Name:
        return self.media.kind == "image", bare_name(video)

    def _find(self, root: Path, video: str) -> Source | None:
        place = PurePosixPath(self.media.folder, self.media.name_of(video))
        try:
            found = find_media(root, self.media, video)
            if found is not None:
                return Source(found, self.media.fps)
            link = (root / place).is_symlink()
        except AnnotationError as error:
            self._note("missing", video, str(error))
        except OSError as error:
            self._note("unreadable", video, f"{place} cannot be looked at: {error.strerror}")
        else:
            endings = f" ({', '.join(self.media.suffixes)})" if self.media.suffixes else ""
            what = "is a link that leads nowhere" if link else ""
            self._note("missing", video, f"{place} {what}" if what else f"expected {place}{endings}")
        return None


def _is_there(path: Path) -> bool:
    """Say whether there is anything by this name, readable or not: a broken link is something too."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _unlisted(root: Path, part: Part) -> list[Problem]:
    """Return the folders that cannot be listed: a pattern finds nothing in them, and says nothing."""
    problems = []
    for pattern in part.annotations:
        if "*" not in pattern:
            continue
        pieces = PurePosixPath(pattern).parts
        plain = next(number for number, piece in enumerate(pieces) if "*" in piece)
        folder = PurePosixPath(*pieces[:plain])
        try:
            os.scandir(root / folder).close()
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(Problem("unreadable annotations", str(folder), error.strerror or str(error)))
    return problems


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
