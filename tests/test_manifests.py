"""Manifests: those that come with litakit, and what is said about a wrong one."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from litakit.data.manifests import ManifestError, Reader, load_manifest, shipped_manifests
from litakit.data.readers import READERS

NEEDED = {
    "activitynet-captions",
    "youcook2",
    "vitt",
    "howto100m",
    "msvd-qa",
    "msrvtt-qa",
    "nextqa",
    "videochat-instruct-11k",
    "llava-instruct-150k",
    "activitynet-rtl",
    "charades-sta",
    "qvhighlights",
    "shapes",
}
OWN = """\
name: kitchen
title: My kitchen
about: Videos of my kitchen.
licence: mine
obtain: ask me
media:
  kind: video
  folder: kitchen/videos
  suffixes: [.mp4]
parts:
  - split: train
    annotations: [kitchen/events.csv]
    reader: csv
    tasks: [event_loc]
    use: train
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "kitchen.yaml"
    path.write_text(text)
    return path


def test_every_published_data_set_has_a_manifest():
    manifests = {manifest.name: manifest for manifest in shipped_manifests()}
    assert set(manifests) >= NEEDED
    for name, manifest in manifests.items():
        assert load_manifest(name) == manifest
        assert all(part.reader in READERS for part in manifest.parts)


def test_a_manifest_may_name_every_reader_and_no_other():
    assert set(get_args(Reader)) == set(READERS)


def test_the_layout_is_the_published_one():
    rtl = load_manifest("activitynet-rtl")
    assert rtl.media.folder == "activitynet-captions/activitynet_frames"
    assert rtl.media.fps == 5
    train, val = rtl.parts
    assert train.annotations == ("temporal_reasoning/activitynet_train_gpt-4-0613_temp_6_f10009.json",)
    assert (train.counts.videos, train.counts.annotations) == (10_009, 33_557)
    assert val.annotations == ("temporal_reasoning/annot_val_1_q229.json",)
    assert (val.counts.videos, val.counts.annotations, val.use) == (160, 229, "evaluation")


def test_a_manifest_of_ones_own(tmp_path):
    manifest = load_manifest(written(tmp_path, OWN))
    assert manifest.parts[0].counts.videos is None
    assert manifest.known_losses is None


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("reader: csv", "reader: tsv", 13, "parts.0.reader: Input should be 'captions_json'"),
        ("[event_loc]", "[event_loc, when]", 14, "parts.0.tasks.1: Input should be 'dvc'"),
        ("kind: video", "kind: movie", 7, "media.kind: Input should be 'video', 'frames' or 'image'"),
        ("kind: video", "kind: frames", 6, "media: fps belongs to folders of frames"),
        ("title: My kitchen\n", "", 1, "title: Field required"),
        ("licence: mine", "license: mine", 4, "license: Extra inputs are not permitted"),
        ("kitchen/events.csv", "../events.csv", 12, "expected a path inside the data root"),
        ("kitchen/events.csv", "/etc/passwd", 12, "expected a path inside the data root"),
        ("kitchen/videos", "kitchen/../../x", 8, "expected a path inside the data root"),
        ("use: train", "use: train\n    counts: {videos: 5}", 16, "a count needs its source"),
        ("use: train", "use: train\n    counts: {videos: -5, source: me}", 16, "greater than or equal to 0"),
        ("name: kitchen", "name: ../kitchen", 1, "name: String should match pattern"),
        ("suffixes: [.mp4]", "name: video", 9, "name must hold {id}"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_field(tmp_path, old, new, line, words):
    path = written(tmp_path, OWN.replace(old, new))
    with pytest.raises(ManifestError) as error:
        load_manifest(path)
    assert any(
        told.startswith(f"{path}:{line}: ") and words in told for told in str(error.value).splitlines()
    ), str(error.value)


def test_every_fault_is_told_at_once(tmp_path):
    path = written(tmp_path, OWN.replace("reader: csv", "reader: tsv").replace("use: train", "use: both"))
    with pytest.raises(ManifestError) as error:
        load_manifest(path)
    assert [line.split(": ")[0] for line in str(error.value).splitlines()] == [f"{path}:13", f"{path}:15"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "1: expected fields such as name and title, got an empty file"),
        (b"- a\n", "1: expected fields such as name and title, got a list"),
        (b"name: [a\n", "2: not YAML"),
        (b"name: \xff\n", " expected UTF-8"),
    ],
)
def test_what_is_no_manifest_at_all(tmp_path, content, words):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=re.escape(f"{path}:{words}")):
        load_manifest(path)


def test_a_name_that_nobody_knows(tmp_path):
    with pytest.raises(
        ManifestError, match="no such manifest; give a YAML file, or one of activitynet-captions"
    ):
        load_manifest("activitynet")
    with pytest.raises(ManifestError, match="cannot be read"):
        load_manifest(tmp_path / "absent.yaml")


def test_shipped_files_are_called_as_their_manifests():
    for manifest in shipped_manifests():
        file = Path(__file__).parents[1] / "data_manifests" / f"{manifest.name}.yaml"
        assert yaml.safe_load(file.read_text())["name"] == manifest.name
