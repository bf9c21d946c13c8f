"""The data check: every kind of damage, done on purpose to a small data root, is found and named."""

import json
import shutil

import pytest

from litakit.data.coverage import KINDS, check
from litakit.data.manifests import load_manifest
from litakit.data.media import bare_name
from litakit.data.synthetic import write_dataset


@pytest.fixture(scope="module")
def whole_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_dataset(root / "shapes" / "train", [11, 12, 13])
    write_dataset(root / "shapes" / "val", [21, 22])
    return root


@pytest.fixture
def root(whole_root, tmp_path):
    return shutil.copytree(whole_root, tmp_path / "root")


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def problems(report):
    return {(part.split, part.tasks[0], *problem[:2]) for part in report.parts for problem in part.problems}


def test_a_whole_root_is_whole(whole_root):
    seen = []
    report = check(whole_root, [load_manifest("shapes")], progress=lambda *place: seen.append(place))
    assert report.ok
    assert all(part.found == part.annotated_videos > 0 for part in report.parts if part.tasks != ("imgqa",))
    dense = json.loads((whole_root / "shapes/train/dvc.json").read_text())
    assert report.parts[0].annotated == sum(len(entry["sentences"]) for entry in dense.values())
    stills = sum(1 for _ in whole_root.rglob("*.jpg"))
    assert seen == [
        (n, 5 + stills) for n in range(1, 6 + stills)
    ]  # each video once, though four parts name it


def test_every_kind_of_damage_is_named(root):
    train, val = root / "shapes/train", root / "shapes/val"
    (train / "videos/v_shape000011.mp4").unlink()
    whole = (train / "videos/v_shape000012.mp4").read_bytes()
    (train / "videos/v_shape000012.mp4").write_bytes(b"words" + whole[:100])
    shutil.copy(val / "videos/v_shape000021.mp4", train / "videos/v_shape000021.mp4")

    def change(dense):
        entry = dense["v_shape000013"]
        entry["duration"] *= 1.05
        entry["timestamps"][0] = [5.0, 4.0]
        entry["timestamps"][1] = [1.0, 1e4]
        entry["sentences"][1] = "  "
        dense["v_shape000021"] = {"duration": 1e9, "timestamps": [], "sentences": []}
        dense["../../etc/passwd"] = {"duration": 1, "timestamps": [], "sentences": []}

    edit(train / "dvc.json", change)
    edit(train / "imgqa.json", lambda items: items.append(items[0]))
    (val / "vidqa.json").write_text('[{"video": "v_shape000021.mp4"}]')
    report = check(root, [load_manifest("shapes")])
    found = problems(report)
    expected = {
        ("train", "dvc", "missing", "v_shape000011"),
        ("train", "rtl", "missing", "v_shape000011"),
        ("train", "vidqa", "missing", "v_shape000011.mp4"),
        ("train", "dvc", "unreadable", "v_shape000012"),
        ("train", "dvc", "duration", "v_shape000013"),
        ("train", "dvc", "duration", "v_shape000021"),
        ("train", "dvc", "reversed", "v_shape000013"),
        ("train", "dvc", "outside", "v_shape000013"),
        ("train", "dvc", "empty", "v_shape000013"),
        ("train", "dvc", "missing", "../../etc/passwd"),
        ("train", "dvc", "leak", "v_shape000021"),
        ("val", "vidqa", "unreadable annotations", "shapes/val/vidqa.json"),
    }
    assert expected <= found
    assert {kind for _, _, kind, _ in found} == set(KINDS)
    assert not any(split == "train" and kind == "leak" and task != "dvc" for split, task, kind, _ in found)
    (leak,) = [p for part in report.parts for p in part.problems if p.kind == "leak"]
    assert leak.reason == "also in shapes val"
    assert not report.ok


def test_one_annotation_file_of_several_that_is_gone_is_named(root, tmp_path):
    shapes = load_manifest("shapes")
    both = ("shapes/train/dvc.json", "shapes/train/gone.json")
    part = shapes.parts[0].model_copy(update={"annotations": both})
    (found,) = check(root, [shapes.model_copy(update={"parts": (part,)})]).parts
    assert found.annotated_videos == 3
    (problem,) = found.problems
    assert (problem.kind, problem.id) == ("unreadable annotations", "shapes/train/gone.json")
    assert "No such file" in problem.reason


def test_what_is_not_there_is_said_and_is_no_failure(root):
    report = check(root)
    absent = [part for part in report.parts if not part.files]
    assert {part.dataset for part in absent} >= {"youcook2", "activitynet-rtl"}
    assert report.ok
    line = next(line for line in str(report).splitlines() if line.startswith("youcook2"))
    assert line.split() == [
        "youcook2",
        "train",
        "dvc,",
        "event_loc",
        "-",
        "-",
        "-",
        *["no", "annotation", "file", "here"],
    ]
    with pytest.raises(NotADirectoryError, match="nowhere: no such data root"):
        check(root / "nowhere")


def test_the_report_is_saved_whole_and_shown_as_html(root, tmp_path):
    report = check(root, [load_manifest("shapes")])
    saved = json.loads(report.save(tmp_path / "new" / "coverage.json").read_text())
    assert saved["schema_version"] == 1
    assert saved["parts"][0]["annotated"] == report.parts[0].annotated
    html = report._repr_html_()
    assert html.count("<tr>") == 1 + len(report.parts)


def test_frames_are_a_video_with_the_rate_of_the_manifest(tmp_path):
    from PIL import Image

    frames = tmp_path / "activitynet-captions/activitynet_frames/v_abc"
    frames.mkdir(parents=True)
    for number in range(1, 51):
        Image.new("RGB", (32, 24)).save(frames / f"{number:06d}.jpg")
    annotations = tmp_path / "temporal_reasoning"
    annotations.mkdir()
    question = {
        "question_id": "abc_0",
        "vid": "abc",
        "duration": 10.1,
        "question": "When?",
        "answer": "<1> <12> x",
    }
    (annotations / "annot_val_1_q229.json").write_text(json.dumps([question]))
    (part,) = [part for part in check(tmp_path, [load_manifest("activitynet-rtl")]).parts if part.files]
    assert (part.found, part.expected, part.expected_videos) == (1, 229, 160)
    assert [problem.kind for problem in part.problems] == ["outside"]


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("v_abc", "abc"),
        ("abc.mp4", "abc"),
        ("a/b/abc.webm", "abc"),
        ("bP5KfdFJzC4_660.0_810.0", "bP5KfdFJzC4_660.0_810.0"),
        ("a.b.mkv", "a.b"),
    ],
)
def test_bare_names(name, bare):
    assert bare_name(name) == bare
