"""The data check: every kind of damage, done on purpose to a small data root, is found and named."""

import json
import os
import re
import shutil

import pytest
from PIL import Image
from typer.testing import CliRunner

from litakit.cli import app
from litakit.data import coverage
from litakit.data.coverage import KINDS, CoverageReport, check
from litakit.data.manifests import load_manifest
from litakit.data.media import bare_name
from litakit.data.synthetic import write_dataset
from tests.video_files import constant_rate, cut_off


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
    cut = cut_off(constant_rate(root / "cut.mkv").path)
    cut.replace(val / "videos/v_shape000022.mp4")

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
        ("val", "dvc", "damaged", "v_shape000022"),
        ("val", "vidqa", "unreadable annotations", "shapes/val/vidqa.json"),
    }
    assert expected <= found
    assert {kind for _, _, kind, _ in found} == set(KINDS)
    assert not any(split == "train" and kind == "leak" and task != "dvc" for split, task, kind, _ in found)
    (leak,) = [p for part in report.parts for p in part.problems if p.kind == "leak"]
    assert leak.reason == "also in shapes val"
    assert not report.ok
    first = report.parts[0]
    assert (first.found, first.annotated_videos) == (2, 5)
    listing = "\n".join(report.problem_lines())
    assert "\nshapes train (dvc): no such video\n  v_shape000011: expected " in f"\n{listing}"
    html = report._repr_html_()
    assert html.count("<details>") == sum(1 for part in report.parts if part.problems)
    assert f"<details><summary>shapes train (dvc): {len(first.problems)} problems</summary>" in html
    assert "<li><code>v_shape000011</code>: expected " in html
    assert "<code>../../etc/passwd</code>: &#x27;../../etc/passwd&#x27; is no name of a video" in html


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


def test_the_report_is_saved_whole_and_read_again(root, tmp_path):
    (root / "shapes/train/videos/v_shape000011.mp4").unlink()
    report = check(root, [load_manifest("shapes")])
    path = report.save(tmp_path / "new" / "coverage.json")
    assert CoverageReport.load(path) == report
    assert CoverageReport.load(path).to_json() == report.to_json()
    summary = report.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["schema_version"] == 1
    assert summary["judged"] == ["shapes val"]
    first = report.parts[0]
    assert summary["parts"][0] == {
        "dataset": "shapes",
        "split": "train",
        "tasks": ["dvc"],
        "expected": None,
        "annotated": first.annotated,
        "expected_videos": None,
        "annotated_videos": 3,
        "found": 2,
        "problems": {"missing": 1},
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "report.json:1: not JSON"),
        ("[]", "report.json: expected a report of `litakit data check`, got something else"),
        (
            '{"schema_version": 1}',
            "report.json: expected a report of `litakit data check`, got something else",
        ),
        (
            '{"schema_version": 7, "root": ".", "parts": []}',
            "report.json: the report is of schema 7, expected 1: check the data again",
        ),
        (
            '{"schema_version": 1, "root": ".", "judged": [], "parts": [{"tasks": 5}]}',
            "report.json: a broken report of `litakit data check` (TypeError: ",
        ),
        (
            '{"schema_version": 1, "root": ".", "judged": [], "parts": [{"tasks": []}]}',
            "report.json: a broken report of `litakit data check` (KeyError: 'files')",
        ),
    ],
)
def test_what_is_no_report_is_not_read_as_one(tmp_path, content, words):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(words)):
        CoverageReport.load(tmp_path / "report.json")


def test_long_lists_are_cut_for_the_eye_only(tmp_path):
    events = "".join(f"v{number:03},0,1,x\n" for number in range(150))
    report = check(tmp_path, [own(tmp_path, "video,start,end,caption\n" + events)])
    assert len(report.problem_lines()) == 13
    assert report.problem_lines()[-1] == "  and 140 more; the report as JSON lists all"
    assert report._repr_html_().count("<li>") == 101
    assert len(json.loads(report.to_json())["parts"][0]["problems"]) == 150


# --- one bad thing is one problem ---

OWN = """
name: own
title: own
about: own
licence: mine
obtain: ask me
media: {kind: frames, folder: own/frames, fps: 5}
parts:
  - {split: train, annotations: [own/events.csv, "own/more/*.vtt"], reader: csv, tasks: [dvc], use: train}
"""


def own(root, events=None):
    """A data set of one's own below a root: its manifest."""
    (root / "own").mkdir(exist_ok=True)
    if events is not None:
        (root / "own/events.csv").write_text(events)
    (root / "own.yaml").write_text(OWN)
    return load_manifest(root / "own.yaml")


def check_own(root, events=None):
    return {tuple(problem) for problem in check(root, [own(root, events)]).parts[0].problems}


def frame_folder(path):
    path.mkdir(parents=True)
    for number in range(1, 6):
        Image.new("RGB", (32, 24)).save(path / f"{number}.jpg")


def test_bad_names_and_links_are_missing_videos(tmp_path):
    frame_folder(tmp_path / "own/frames/good")
    (tmp_path / "own/frames/loop").symlink_to("loop")
    (tmp_path / "own/frames/broken").symlink_to("nowhere")
    (tmp_path / "own/frames/file").write_text("no folder")
    names = ["good", "loop", "broken", "file", ".", "a/../../..", "/etc", "n" * 300, "nul\0"]
    found = check_own(tmp_path, "video,start,end,caption\n" + "".join(f"{name},0,1,x\n" for name in names))
    assert found == {
        ("missing", "loop", "own/frames/loop is a link that leads nowhere"),
        ("missing", "broken", "own/frames/broken is a link that leads nowhere"),
        ("missing", "file", "expected own/frames/file"),
        ("missing", ".", "'.' is no name of a video"),
        ("missing", "a/../../..", "'a/../../..' is no name of a video: it leads out of the data root"),
        ("missing", "/etc", "'/etc' is no name of a video: it leads out of the data root"),
        ("unreadable", "n" * 300, f"own/frames/{'n' * 300} cannot be looked at: File name too long"),
        ("missing", "nul\0", "expected own/frames/nul\0"),
    }


def test_folders_that_may_not_be_read(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        frame_folder(tmp_path / "own/frames" / name)
    look, access = coverage.find_media, os.access

    def refuse(root, media, video):
        if video == "a":
            raise PermissionError(13, "Permission denied", "a")
        return look(root, media, video)

    # The superuser may read everything: the system's answers are made up.
    monkeypatch.setattr(coverage, "find_media", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("/b") and access(path, mode))
    assert check_own(tmp_path, "video,start,end,caption\na,0,1,x\nb,0,1,x\nc,0,1,x\n") == {
        ("unreadable", "a", "own/frames/a cannot be looked at: Permission denied"),
        ("unreadable", "b", "the folder cannot be read: permission denied"),
    }


def test_damaged_frames_are_named(tmp_path):
    frame_folder(tmp_path / "own/frames/a")
    (tmp_path / "own/frames/a/2.jpg").write_bytes(b"")
    (tmp_path / "own/frames/b").mkdir()
    found = check_own(tmp_path, "video,start,end,caption\na,0,1,x\nb,0,1,x\n")
    assert ("damaged", "a", "1 of its frames are empty files (0 bytes), such as 2.jpg") in found
    assert {problem[:2] for problem in found} == {("damaged", "a"), ("unreadable", "b")}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "{path}: expected an annotation file, got a folder"),
        (lambda path: path.touch(), "{path}: expected annotations, got an empty file (0 bytes)"),
        (
            lambda path: path.symlink_to("events.csv"),
            "{path}: cannot be read (Too many levels of symbolic links)",
        ),
        (lambda path: path.symlink_to("nowhere"), "{path}: cannot be read (No such file or directory)"),
        (os.mkfifo, "{path}: expected an annotation file, got a pipe or device"),
        (lambda path: path.write_text("video,start,end,caption\n"), "there is no annotation in it"),
        (
            lambda path: path.write_bytes(b"video,start,end,caption\n\xe9,0,1,x\n"),
            "{path}:2: expected UTF-8 text, got the byte 0xe9 in column 1; save the file as UTF-8",
        ),
    ],
    ids=["folder", "empty", "loop", "broken link", "pipe", "no row", "latin-1"],
)
def test_annotation_files_that_are_none(tmp_path, make, reason):
    own(tmp_path)
    path = tmp_path / "own/events.csv"
    make(path)
    assert check_own(tmp_path) == {
        ("unreadable annotations", "own/events.csv", reason.format(path=path)),
    }


def test_a_pattern_in_a_folder_that_cannot_be_listed_is_said(tmp_path):
    own(tmp_path)
    (tmp_path / "own/more").symlink_to("more")
    report = check(tmp_path, [own(tmp_path)])
    assert [tuple(problem) for problem in report.parts[0].problems] == [
        ("unreadable annotations", "own/more", "Too many levels of symbolic links")
    ]
    assert "1 unreadable annotations" in str(report)


def test_names_that_are_no_text_can_be_saved_and_shown(tmp_path):
    own(tmp_path)
    (tmp_path / "own/more").mkdir()
    name = os.fsdecode(b"caf\xe9\x1b[2J.vtt")
    (tmp_path / "own/more" / name).write_text("video,start,end,caption\n<b>&\x1b[2J,0,1,x\n")
    (tmp_path / "own/events.csv").write_text("video,start,end,caption\n")
    report = check(tmp_path, [own(tmp_path)])
    assert report.parts[0].files == ("own/events.csv", f"own/more/{name}")
    assert CoverageReport.load(report.save(tmp_path / "report.json")) == report
    assert "  <b>&\\x1b[2J: expected own/frames/<b>&\\x1b[2J" in report.problem_lines()
    assert "<code>&lt;b&gt;&amp;\\x1b[2J</code>" in report._repr_html_()


# --- a video of a training and of an evaluation part ---


def rtl_val(root, content):
    (root / "temporal_reasoning").mkdir(exist_ok=True)
    (root / "temporal_reasoning/annot_val_1_q229.json").write_text(content)


def question_about(video):
    return {"question_id": "q", "vid": video, "duration": 1, "question": "When?", "answer": "<0> <1> so."}


def test_rtl_val_counts_whichever_data_sets_are_checked(tmp_path):
    captions = load_manifest("activitynet-captions")
    entry = {"duration": 1, "timestamps": [], "sentences": []}
    (tmp_path / "activitynet-captions").mkdir()
    (tmp_path / "activitynet-captions/train.json").write_text(json.dumps({"v_abc": entry, "v_def": entry}))
    report = check(tmp_path, [captions])
    assert report.judged == ()
    assert str(report).endswith("There is no evaluation part here to compare training videos with.")
    rtl_val(tmp_path, json.dumps([question_about("abc")]))
    for manifests in ([captions], [own(tmp_path, "video,start,end,caption\nabc.mp4,0,1,x\n")], None):
        report = check(tmp_path, manifests)
        (leak,) = [problem for part in report.parts for problem in part.problems if problem.kind == "leak"]
        assert leak.id in ("v_abc", "abc.mp4")
        assert leak.reason == "also in activitynet-rtl val"
        assert report.judged == ("activitynet-rtl val",)
        assert str(report).endswith("Training videos were compared with those of activitynet-rtl val.")
        if manifests is not None:  # it is compared with, and not checked
            assert len(report.parts) == sum(len(manifest.parts) for manifest in manifests)
    (tmp_path / "activitynet-captions/val_1.json").write_text(json.dumps({"v_abc": entry}))
    rtl_val(tmp_path, json.dumps([question_about("abc"), question_about("abc")]))
    (leak,) = [problem for problem in check(tmp_path, [captions]).parts[0].problems if problem.kind == "leak"]
    assert leak.reason == "also in activitynet-captions val_1 and activitynet-rtl val"
    rtl_val(tmp_path, "[7]")
    (*_, val) = check(tmp_path, [captions]).parts
    assert (val.dataset, val.split) == ("activitynet-rtl", "val")
    assert [problem.kind for problem in val.problems] == ["unreadable annotations"]


def test_a_still_image_is_another_thing_than_a_video_of_its_name(tmp_path):
    coco = tmp_path / "LLaVA-Instruct-150K"
    coco.mkdir()
    talk = [{"id": "1", "image": "abc.jpg", "conversations": []}]
    (coco / "llava_instruct_150k.json").write_text(json.dumps(talk))
    rtl_val(tmp_path, json.dumps([question_about("abc")]))
    report = check(tmp_path)
    assert not any(problem.kind == "leak" for part in report.parts for problem in part.problems)


# --- the command ---


def run(*arguments):
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def test_the_command_lists_saves_and_fails(tmp_path):
    manifest = tmp_path / "own.yaml"
    own(tmp_path, "video,start,end,caption\ngone,0,1,x\n")
    result = run(manifest, "--root", tmp_path, "--out", tmp_path / "report.json", "--workers", "2")
    assert result.exit_code == 1
    assert "\n\nown train (dvc): no such video\n  gone: expected own/frames/gone\n" in result.stdout
    saved = CoverageReport.load(tmp_path / "report.json")
    as_json = run(manifest, "--root", tmp_path, "--json")
    assert as_json.exit_code == 1
    assert as_json.stdout == saved.to_json() + "\n"
    frame_folder(tmp_path / "own/frames/gone")
    assert run(manifest, "--root", tmp_path).exit_code == 0


def test_the_report_lies_beside_the_features_unless_said_otherwise(tmp_path):
    manifest = tmp_path / "own.yaml"
    own(tmp_path, "video,start,end,caption\ngone,0,1,x\n")
    result = run(manifest, "--root", tmp_path)
    assert CoverageReport.load(tmp_path / "features" / "coverage.json").summary()["parts"][0]["found"] == 0
    shutil.rmtree(tmp_path / "features")
    (tmp_path / "features").write_text("a file where the folder would be")
    blocked = run(manifest, "--root", tmp_path)
    assert blocked.stdout == result.stdout
    assert "the report is not saved (" in blocked.stderr
    refused = run(manifest, "--root", tmp_path, "--out", tmp_path / "features" / "report.json")
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--root", "no/such/root"),
            "no/such/root: no such data root; expected a folder that holds the data sets",
        ),
        (("--root", __file__), "no such data root"),
        (("no-such-set",), "no-such-set: no such data set or mixture"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_frames_are_a_video_with_the_rate_of_the_manifest(tmp_path):
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
        ("bP5KfdFJzC4_660.0_810.0", "bP5KfdFJzC4"),
        ("a.b.mkv", "a.b"),
    ],
)
def test_bare_names(name, bare):
    assert bare_name(name) == bare
