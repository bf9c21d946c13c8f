"""Prepare: the same bytes every time, whole files or none, and everything that is left out named."""

import errno
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from litakit.cli import app
from litakit.data._yaml import ManifestError
from litakit.data.annotations import AnnotationError
from litakit.data.coverage import check
from litakit.data.manifests import load_manifest
from litakit.data.mixture import Mixture
from litakit.data.mixture_spec import find_parts, load_mixture, mixture_of
from litakit.data.prepare import prepare
from litakit.data.readers import read_annotations
from litakit.data.samples import from_record
from litakit.data.synthetic import write_dataset
from litakit.spans import Span

SEEDS = [31, 32, 33]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_dataset(root / "shapes" / "train", SEEDS, videos=False)
    return root


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_samples_hold_what_the_annotations_say(root, tmp_path):
    prepared = prepare(*load_mixture("shape-world"), root, tmp_path)
    assert not prepared.left_out
    assert (tmp_path / "left_out.jsonl").read_text() == ""
    annotations = list(read_annotations(root / "shapes/train/event_loc.json", "captions_json"))
    samples = rows(tmp_path / "shapes.train.event_loc.jsonl")
    captions = [(told.video, told.duration, caption) for told in annotations for caption in told.captions]
    assert len(samples) == len(captions) > 3
    for sample, (video, duration, caption) in zip(samples, captions, strict=True):
        assert (sample["video"], sample["duration"]) == (video, duration)
        assert sample["spans"] == [[caption.start, caption.end]]
        assert sample["messages"][1] == {"role": "assistant", "content": f"<{caption.start}> <{caption.end}>"}
        assert sample["messages"][0]["video"]
        assert (sample["source"], sample["split"], sample["task"]) == ("shapes", "train", "event_loc")
        assert sample["path"] == f"shapes/train/videos/{video}.mp4"
    read = from_record(samples[0])
    assert read.spans == (Span(*samples[0]["spans"][0]),)
    assert read.paraphrased(0) == read
    assert from_record(samples[0], 3) == read.paraphrased(3) != read


def test_the_same_bytes_every_time(root, tmp_path):
    for name in ("a", "b"):
        prepare(*load_mixture("shape-world"), root, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 5 + 2
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


MANIFEST = """
name: mine
title: My videos
about: Mine.
licence: Mine.
obtain: Nowhere.
media: {kind: video, folder: mine, suffixes: [.mp4]}
parts:
  - {split: train, annotations: [mine/train.json], reader: captions_json, tasks: [event_loc, dvc], use: train}
"""


def own(root, content):
    (root / "mine").mkdir(parents=True, exist_ok=True)
    (root / "mine" / "train.json").write_text(content)
    (root / "mine.yaml").write_text(MANIFEST)
    return mixture_of([load_manifest(root / "mine.yaml")])


def test_what_can_be_no_sample_is_named(tmp_path):
    told = '"duration": 9.0, "timestamps": [[1, 2], [5, 3]], "sentences": ["He runs.", "He sits."]'
    parts = own(tmp_path, f'{{"a": {{{told}}}, "a": {{{told}}}, "../b": {{{told}}}}}')
    (tmp_path / "mine" / "a.mp4").write_bytes(b"")
    prepared = prepare(*parts, tmp_path, tmp_path / "out")
    reasons = [(entry.task, entry.id, entry.reason) for entry in prepared.left_out]
    reversed_span = "a span must not end before it starts, got 5.0 s to 3.0 s"
    twice = "it is there twice, word for word, in mine/train.json again"
    escaping = "'../b' is no name of a video: it leads out of the data root"
    assert reasons == [
        (task, name, reason)
        for task in ("dvc", "event_loc")
        for name, reason in (("a#1", reversed_span), ("a", twice), ("../b", escaping))
    ]
    assert [row["reason"] for row in rows(tmp_path / "out" / "left_out.jsonl")] == [r for *_, r in reasons]
    assert [row["id"] for row in rows(tmp_path / "out" / "mine.train.event_loc.jsonl")] == ["a#0"]


def test_only_found_leaves_out_what_has_no_video(tmp_path):
    told = '{"duration": 9.0, "timestamps": [[1, 2]], "sentences": ["He runs."]}'
    parts = own(tmp_path, f'{{"a": {told}, "b": {told}}}')
    (tmp_path / "mine" / "b.mp4").write_bytes(b"")
    whole = prepare(*parts, tmp_path, tmp_path / "whole")
    assert [file.num_samples for file in whole.files] == [2, 2]
    found = prepare(*parts, tmp_path, tmp_path / "found", only_found=True)
    assert [file.num_samples for file in found.files] == [1, 1]
    assert {(entry.id, entry.reason) for entry in found.left_out} == {("a", "missing: mine/a.mp4")}


def test_words_alone_need_no_video(tmp_path):
    said = [{"from": "human", "value": "What is a cup?"}, {"from": "gpt", "value": "A thing to drink from."}]
    own(tmp_path, json.dumps([{"id": "w", "conversations": said}]))
    manifest = (tmp_path / "mine.yaml").read_text()
    manifest = manifest.replace("captions_json", "conversations_json").replace("[event_loc, dvc]", "[imgqa]")
    (tmp_path / "mine.yaml").write_text(manifest)
    parts = mixture_of([load_manifest(tmp_path / "mine.yaml")])
    prepared = prepare(*parts, tmp_path, tmp_path / "out", only_found=True)
    assert not prepared.left_out
    (row,) = rows(tmp_path / "out" / "mine.train.imgqa.jsonl")
    assert (row["video"], row["path"], row["messages"][0]["content"]) == (None, None, "What is a cup?")
    report = check(tmp_path, [load_manifest(tmp_path / "mine.yaml")])
    assert report.ok
    assert (report.parts[0].annotated, report.parts[0].annotated_videos) == (1, 0)


def test_missing_annotation_files_are_all_named_before_anything_is_written(tmp_path):
    with pytest.raises(AnnotationError, match=r"activitynet-captions/train.json; .*youcook2: "):
        prepare(*load_mixture("lita"), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(NotADirectoryError, match="no such data root"):
        prepare(*load_mixture("lita"), tmp_path / "none", tmp_path / "out")


def test_a_full_disk_leaves_what_was_there(root, tmp_path, monkeypatch):
    prepare(*load_mixture("shape-world"), root, tmp_path)
    Mixture(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = tmp_path.parent / "other_root"
    write_dataset(other / "shapes" / "train", [41, 42], videos=False)
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*shapes.train.event_loc.jsonl"):
        prepare(*load_mixture("shape-world"), other, tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys() - {"mixture.json"}
    assert {name for name in after if after[name] != before[name]} == {"shapes.train.dvc.jsonl"}
    with pytest.raises(ValueError, match="holds no prepared mixture"):  # old and new are not read together
        Mixture(tmp_path)
    monkeypatch.undo()
    prepare(*load_mixture("shape-world"), other, tmp_path)
    assert len({sample.video for sample in Mixture(tmp_path)}) == 2 + 2 + 2


def test_entries_of_one_id_stay_and_are_told_apart(tmp_path):
    def said(words):
        return [{"from": "human", "value": words}, {"from": "gpt", "value": "yes"}]

    entries = [
        {"id": "x", "image": "x.jpg", "conversations": said(words)} for words in ("One?", "Two?", "One?")
    ]
    own(tmp_path, json.dumps(entries))
    manifest = (tmp_path / "mine.yaml").read_text()
    manifest = manifest.replace("captions_json", "conversations_json").replace("[event_loc, dvc]", "[imgqa]")
    (tmp_path / "mine.yaml").write_text(manifest)
    prepared = prepare(*mixture_of([load_manifest(tmp_path / "mine.yaml")]), tmp_path, tmp_path / "out")
    made = rows(tmp_path / "out" / "mine.train.imgqa.jsonl")
    assert [(row["id"], row["messages"][0]["content"]) for row in made] == [("x", "One?"), ("x~2", "Two?")]
    assert [(entry.id, entry.reason[:17]) for entry in prepared.left_out] == [("x", "it is there twice")]


def test_a_source_that_makes_nothing_is_said(tmp_path):
    own(tmp_path, '{"a": {"duration": 9, "timestamps": [[1, 2]], "sentences": ["He runs."]}}')
    (tmp_path / "mine.yaml").write_text(MANIFEST.replace("[event_loc, dvc]", "[vidqa]"))
    prepared = prepare(*mixture_of([load_manifest(tmp_path / "mine.yaml")]), tmp_path, tmp_path / "out")
    assert [entry.reason for entry in prepared.left_out] == ["it makes no sample at all"]


def test_two_sources_are_never_one_file(tmp_path):
    own(tmp_path, "{}")
    twice = [load_manifest(tmp_path / "mine.yaml")] * 2
    with pytest.raises(ManifestError, match="mine: two sources of one task, name and split"):
        mixture_of(twice)
    with pytest.raises(ManifestError, match="lita is a mixture, which says its splits itself"):
        find_parts(["lita"], "val")


def test_the_command_line(root, tmp_path):
    run = CliRunner().invoke
    result = run(app, ["data", "prepare", "shape-world", "--root", str(root), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "shapes.train.rtl.jsonl" in result.stdout
    result = run(app, ["data", "describe", str(tmp_path / "out"), "--json"])
    assert sum(row["drawn"] for row in json.loads(result.stdout)["rows"]) == 2000
    assert "20.0%" in run(app, ["data", "describe", str(tmp_path / "out"), "--seed", "5"]).stdout
    result = run(app, ["data", "prepare", "lita", "--root", str(root), "--out", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "lacks annotation files of this mixture: " in result.stderr
    result = run(app, ["data", "describe", str(root)])
    assert (result.exit_code, "holds no prepared mixture" in result.stderr) == (2, True)
    broken = own(tmp_path, '{"a": {"duration": 9, "timestamps": [[5, 1]], "sentences": ["He runs."]}}')
    assert broken
    arguments = [str(tmp_path / "mine.yaml"), "--root", str(tmp_path), "--out", str(tmp_path / "mine_out")]
    result = run(app, ["data", "prepare", *arguments])
    assert result.exit_code == 1
    assert "mine train dvc a#0: a span must not end before it starts" in result.stdout
    assert Path(tmp_path / "mine_out" / "mixture.json").exists()
