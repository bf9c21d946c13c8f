"""Videos become folders of frames: the right frames, whole or not at all, once, whoever is killed."""

import errno
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

from litakit.cli import app
from litakit.data.annotations import AnnotationError
from litakit.data.frames import FrameJob, extract, frame_jobs
from litakit.data.jobs import JobRecord, run_jobs
from litakit.data.manifests import load_manifest
from litakit.video import VideoError, _client, decode_frames, extract_frames
from litakit.video.sampling import frames_on_grid
from tests.video_files import (
    CLOCK_SECONDS,
    b_frames,
    constant_rate,
    cut_off,
    even_ticks,
    late_start,
    read_clock,
    trimmed_by_edit_list,
    variable_rate,
    write_clock_video,
)

NTSC = Fraction(30000, 1001)
EDGE = 1e-6


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def jpgs(folder):
    """The frames of a folder by name, as bytes; nothing else may be in it."""
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    assert list(found) == [f"{number:06d}.jpg" for number in range(1, len(found) + 1)]
    return found


def tree(folder):
    """Every file below a folder but locks, as bytes; and every folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if ".locks" not in path.relative_to(folder).parts
    }


def check_frames(made, folder, fps, shape=None):
    """Frame k shows what is on screen at second k / fps."""
    files = sorted(folder.iterdir())
    assert len(files) == len(jpgs(folder)) == max(1, math.ceil((made.duration - EDGE) * fps))
    for place, file in enumerate(files):
        with Image.open(file) as image:
            seen = read_clock(np.asarray(image if shape is None else image.resize(shape)))
        on_screen = max(at for at in made.shown if at <= place / fps + EDGE)
        assert seen - made.clock_begins == pytest.approx(on_screen, abs=CLOCK_SECONDS), file.name


MAKERS = {
    "constant.mp4": lambda path: constant_rate(path, NTSC, 90),
    "b_frames.mp4": lambda path: b_frames(path, 25, 130),
    "variable.mkv": variable_rate,
    "variable.mp4": lambda path: variable_rate(path, seed=3),
    "late.mp4": late_start,
    "late.ts": lambda path: late_start(path, first=3000),
    "edited.mp4": trimmed_by_edit_list,
    "slides.mp4": lambda path: write_clock_video(path, [0, 1, 4, 5], Fraction(1), rate=1, last_ticks=2),
    "hidden.webm": lambda path: constant_rate(path, 25, 40, codec="libvpx"),
    "one.mp4": lambda path: write_clock_video(path, even_ticks(1), Fraction(1, 25)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_each_frame_is_the_one_on_screen(tmp_path, name):
    made = MAKERS[name](tmp_path / name)
    folder = extract_frames(made.path, tmp_path / "frames")
    check_frames(made, tmp_path / "frames", fps=5)
    assert folder.num_frames == len(jpgs(tmp_path / "frames"))
    assert (folder.path, folder.fps, folder.info.path) == (tmp_path / "frames", 5.0, str(made.path))
    assert names(tmp_path) == sorted([name, "frames"])


@pytest.mark.parametrize("fps", [0.4, 3, 12.5, 60])
def test_other_rates(tmp_path, fps):
    made = variable_rate(tmp_path / "a.mkv", 30)
    extract_frames(made.path, tmp_path / "frames", fps=fps)
    check_frames(made, tmp_path / "frames", fps)


def test_the_folder_is_read_as_the_video(tmp_path):
    made = constant_rate(tmp_path / "a.mp4", NTSC, 200)
    extract_frames(made.path, tmp_path / "frames", fps=5)
    batch = decode_frames(tmp_path / "frames", 100, fps=5)
    assert batch.duration == pytest.approx(made.duration, abs=1 / 5)
    assert batch.pixels.shape == (100, 240, 320, 3)
    for rgb, pts in zip(batch.pixels, batch.pts_seconds, strict=True):
        assert -CLOCK_SECONDS <= pts - read_clock(rgb) < 1 / NTSC + CLOCK_SECONDS


def test_pixels_are_those_of_the_video(tmp_path):
    """What is decoded side by side, from key frames on, equals each frame resized and written by itself."""
    made = b_frames(tmp_path / "a.mp4", 25, 160)
    extract_frames(made.path, tmp_path / "frames", size=(100, 44), quality=71)
    whole = decode_frames(made.path, 160)
    expected = {}
    for place, index in enumerate(frames_on_grid(np.arange(161) / 25, 5).tolist()):
        file = io.BytesIO()
        image = Image.fromarray(whole.pixels[index]).resize((100, 44), Image.Resampling.BICUBIC)
        image.save(file, "jpeg", quality=71)
        expected[f"{place + 1:06d}.jpg"] = file.getvalue()
    assert jpgs(tmp_path / "frames") == expected
    extract_frames(made.path, tmp_path / "again", size=(100, 44), quality=71)
    assert jpgs(tmp_path / "again") == expected


@pytest.mark.parametrize(
    ("rotation", "native"), [(0, (160, 120)), (90, (120, 160)), (180, (160, 120)), (270, (120, 160))]
)
def test_rotation_and_size(tmp_path, rotation, native):
    made = constant_rate(tmp_path / "a.mp4", 25, 20, rotation=rotation)
    for name, size in (("stretched", (320, 240)), ("native", None)):
        folder = extract_frames(made.path, tmp_path / name, size=size)
        with Image.open(tmp_path / name / "000001.jpg") as image:
            assert image.size == (size or native)
        check_frames(made, tmp_path / name, 5, shape=native)
        assert (folder.info.width, folder.info.height) == native


def test_a_picture_that_stays_for_long(tmp_path):
    """More places than are written in one go."""
    made = write_clock_video(tmp_path / "a.mp4", [0, 1, 60], Fraction(1), rate=1, last_ticks=1)
    assert extract_frames(made.path, tmp_path / "frames", size=(80, 60)).num_frames == 305
    found = list(jpgs(tmp_path / "frames").values())
    assert [len(set(found[a:b])) for a, b in ((0, 5), (5, 300), (300, 305))] == [1, 1, 1]
    assert len({*found}) == 3


def test_what_can_be_read_of_a_cut_off_video(tmp_path):
    made = constant_rate(tmp_path / "a.mkv", 25, 100)
    cut_off(made.path, 0.6)
    folder = extract_frames(made.path, tmp_path / "frames")
    assert 5 < folder.num_frames < 18
    assert any("cut off" in warning for warning in folder.info.warnings)
    seen = [read_clock(np.asarray(Image.open(path))) for path in sorted((tmp_path / "frames").iterdir())]
    assert seen == pytest.approx([place / 5 for place in range(folder.num_frames)], abs=CLOCK_SECONDS)


def test_no_video_file(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "still.png")
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "folder" / "1.jpg")
    (tmp_path / "text.mp4").write_text("words " * 100)
    for name, reason in {
        "still.png": "frames are extracted from a video file, and this is a still image",
        "folder": "frames are extracted from a video file, and this is a folder",
        "text.mp4": "not a readable video",
        "missing.mp4": "no such file or folder",
    }.items():
        with pytest.raises(VideoError, match=f"{name}: {reason}"):
            extract_frames(tmp_path / name, tmp_path / "frames")
    assert names(tmp_path) == ["folder", "still.png", "text.mp4"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two seconds: 10 frames."""
    return constant_rate(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fps": 0}, "fps must be positive and finite, got 0"),
        ({"fps": float("inf")}, "fps must be positive and finite, got inf"),
        ({"size": (0, 240)}, r"size must be a width and a height of 1 to 65500 px, got \(0, 240\)"),
        ({"quality": 101}, "quality must be 1 to 100, got 101"),
        ({"deadline_seconds": 0}, "deadline_seconds must be positive and finite, got 0"),
    ],
)
def test_wrong_arguments(tmp_path, clip, wrong, words):
    with pytest.raises(ValueError, match=f"^{words}$"):
        extract_frames(clip.path, tmp_path / "frames", **wrong)
    assert names(tmp_path) == []


def test_a_folder_that_is_there_stays(tmp_path, clip):
    (tmp_path / "frames").mkdir()
    assert extract_frames(clip.path, tmp_path / "frames").num_frames == 10  # an empty one is none
    (tmp_path / "frames" / "000003.jpg").write_bytes(b"mine")
    before = tree(tmp_path)
    for target in ("frames", "frames/000003.jpg"):
        with pytest.raises(FileExistsError, match=f"{target}: there already; remove it"):
            extract_frames(clip.path, tmp_path / target)
    assert tree(tmp_path) == before


def test_a_folder_that_cannot_be_made(tmp_path, clip):
    (tmp_path / "file").write_text("words")
    with pytest.raises(OSError, match=r"frames cannot be written: .*file/frames"):
        extract_frames(clip.path, tmp_path / "file" / "frames")
    assert names(tmp_path) == ["file"]


BOOT = textwrap.dedent("""
    import errno, os, sys, time; sys.path.insert(0, sys.argv[1])
    from litakit.video import _extract_job, _job, _worker
    write, run, frames_of = _extract_job.write_file, _extract_job.run, _extract_job.frames_of
    {change}
    _worker.main()
""")
SLOW = textwrap.dedent("""
    def slowly(path, content):
        time.sleep(0.1)
        write(path, content)
    _extract_job.write_file = slowly
""")
FULL = textwrap.dedent("""
    def full(path, content):
        if path.name > "000004.jpg":
            path.write_bytes(content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)
    _extract_job.write_file = full
""")
STUCK = textwrap.dedent("""
    def stuck(path, content):
        if path.parts[-3] == ".v_c.part" and path.name > "000004.jpg":
            time.sleep(600)
        write(path, content)
    _extract_job.write_file = stuck
""")
HANGING = textwrap.dedent("""
    def hang(path, content):
        write(path, content)
        while True: pass
    _extract_job.write_file = hang
""")
MISLED = textwrap.dedent("""
    from litakit.video._errors import PacketsMisledError
    def mislead(path, table, *others):
        for number, frame in enumerate(frames_of(path, table, *others)):
            yield frame
            if number == 5 and table.packets is not None:
                raise PacketsMisledError("it is a test")
    _extract_job.frames_of = mislead
""")


def boot(change):
    return BOOT.format(change=change)


@pytest.fixture
def own_worker(monkeypatch):
    """Starts a worker that is changed, for this test."""

    def start(change):
        monkeypatch.setattr(_client, "BOOT", boot(change))

    _client.worker().close()
    yield start
    monkeypatch.undo()
    _client.worker().close()


def test_a_full_disk(tmp_path, clip, own_worker):
    own_worker(FULL)
    with pytest.raises(OSError, match="frames cannot be written: No space left on device: ") as raised:
        extract_frames(clip.path, tmp_path / "deep" / "frames")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "deep" / "frames"))
    assert tree(tmp_path) == {"deep": None}
    pid = _client.worker().pid
    assert len(decode_frames(clip.path, 3).pixels) == 3
    assert _client.worker().pid == pid


def test_a_decoder_that_never_returns(tmp_path, clip, own_worker):
    own_worker(HANGING)
    with pytest.raises(VideoError, match=r"clip\.mp4: the decoder gave no sign of life for 1 s"):
        extract_frames(clip.path, tmp_path / "frames", deadline_seconds=1)
    assert names(tmp_path) == []


def test_packets_that_mislead(tmp_path, clip, own_worker):
    own_worker(MISLED)
    folder = extract_frames(clip.path, tmp_path / "frames")
    check_frames(clip, tmp_path / "frames", 5)
    assert folder.info.warnings == ("decoded in full, because it is a test",)


# Jobs


MANIFEST = """
name: set
title: A set
about: of videos
licence: none
obtain: here
media: {kind: frames, folder: set/frames, fps: 5}
parts:
  - {split: train, annotations: [set/train.json], reader: captions_json, tasks: [dvc], use: train}
  - {split: val, annotations: [set/val.json], reader: rtl_val_json, tasks: [rtl], use: evaluation}
"""


class DataSet:
    """A data root, videos beside it, and the manifest of both."""

    def __init__(self, folder):
        self.root, self.videos, self.file = folder / "root", folder / "videos", folder / "set.yaml"
        self.frames = self.root / "set" / "frames"
        self.videos.mkdir(parents=True)
        (self.root / "set").mkdir(parents=True)
        self.file.write_text(MANIFEST)

    def annotate(self, train=(), val=()):
        dense = {name: {"duration": 2.0, "timestamps": [], "sentences": []} for name in train}
        (self.root / "set/train.json").write_text(json.dumps(dense))
        asked = [{"vid": name, "duration": 2.0, "question": "When?", "answer": "<1>"} for name in val]
        (self.root / "set/val.json").write_text(json.dumps(asked))

    def jobs(self, **options):
        return frame_jobs([load_manifest(self.file)], self.root, self.videos, **options)

    def cli(self, *options):
        places = ["--root", str(self.root), "--videos", str(self.videos)]
        return CliRunner().invoke(app, ["data", "frames", str(self.file), *places, *options])


@pytest.fixture
def dataset(tmp_path):
    return DataSet(tmp_path)


def test_jobs_find_each_video_once(dataset):
    dataset.annotate(["v_a", "v_b", "v_c.avi", "d", "v_gone"], val=["a", "e"])
    names = ["v_a.mp4", "b.MKV", "v_b.webm", "c.avi", "v_d.mov", "e.m4v", "e.webm", "e.part", "gone.txt"]
    for name in names:
        (dataset.videos / name).touch()
    jobs = dataset.jobs(size=None, quality=80)
    assert [(Path(job.id).name, job.video and job.video.name) for job in jobs] == [
        ("v_a", "v_a.mp4"),
        ("v_b", "v_b.webm"),  # as it is called, before the other
        ("v_c.avi", "c.avi"),
        ("d", "v_d.mov"),
        ("v_gone", None),
        ("v_e", "e.webm"),  # the more usual ending
    ]
    assert jobs[0] == FrameJob(
        id="set/frames/v_a",
        video=dataset.videos / "v_a.mp4",
        folder=dataset.frames / "v_a",
        locks=dataset.frames / ".locks",
        fps=5.0,
        size=None,
        quality=80,
    )
    reason = f"no video called v_gone, with or without v_ and an ending, in {dataset.videos}"
    assert extract(jobs[4]) == JobRecord("set/frames/v_gone", "failed", reason)
    again = frame_jobs([load_manifest(dataset.file)] * 2, dataset.root, dataset.videos)
    assert [job.id for job in again] == [job.id for job in jobs]


def test_names_that_lead_out_of_the_root(dataset):
    wicked = ["../../out", "/etc/passwd", "a\\..\\b", ""]
    dataset.annotate(wicked)
    (dataset.videos / "out.mp4").touch()
    records = [extract(job) for job in dataset.jobs()]
    assert len(records) == len(wicked)
    for name, record in zip(wicked, records, strict=True):
        assert record.status == "failed"
        assert record.reason.startswith(f"{name!r} is no name of a video")
    assert not dataset.frames.exists()


def test_frames_without_their_video_are_kept(dataset):
    dataset.annotate(["v_a"])
    (dataset.frames / "v_a").mkdir(parents=True)
    (dataset.frames / "v_a" / "000001.jpg").touch()
    assert run_jobs(extract, dataset.jobs()).records == (JobRecord("set/frames/v_a", "kept"),)


def test_what_cannot_be_planned(dataset, tmp_path, caplog):
    with pytest.raises(
        AnnotationError, match=r"no annotation file below .*set train \(set/train.json\); set"
    ):
        dataset.jobs()
    dataset.annotate(["v_a"])
    with pytest.raises(
        ValueError, match="set reads its folders at 5 frames a second: made at 10, they would"
    ):
        dataset.jobs(fps=10)
    assert len(dataset.jobs(fps=5)) == 1
    other = load_manifest(dataset.file).model_copy(
        update={"media": load_manifest(dataset.file).media.model_copy(update={"fps": 4})}
    )
    with pytest.raises(ValueError, match="set/frames/v_a is read at 5 and at 4 frames a second"):
        frame_jobs([load_manifest(dataset.file), other], dataset.root, dataset.videos)
    with pytest.raises(ValueError, match="charades-sta keeps no folders of frames, but media of the kind"):
        frame_jobs([load_manifest("charades-sta")], dataset.root, dataset.videos)
    for root, videos in ((tmp_path / "no", dataset.videos), (dataset.root, tmp_path / "no")):
        with pytest.raises(NotADirectoryError, match="no: no such"):
            frame_jobs([load_manifest(dataset.file)], root, videos)
    assert not caplog.messages
    (dataset.root / "set/val.json").unlink()
    assert len(dataset.jobs()) == 1
    assert caplog.messages == ["left out, since its annotations are not here: set val (set/val.json)"]


def test_made_then_kept(dataset, clip):
    dataset.annotate(["v_a"])
    shutil.copy(clip.path, dataset.videos / "a.mp4")
    seen = []
    report = run_jobs(extract, dataset.jobs(), lambda *place: seen.append(place))
    assert report.records == (JobRecord("set/frames/v_a", "made"),)
    assert seen == [(1, 1)]
    check_frames(clip, dataset.frames / "v_a", 5)
    before = tree(dataset.root)
    assert run_jobs(extract, dataset.jobs()).records == (JobRecord("set/frames/v_a", "kept"),)
    assert tree(dataset.root) == before


def test_a_job_that_another_process_is_at(dataset, clip):
    dataset.annotate(["v_a"])
    shutil.copy(clip.path, dataset.videos / "a.mp4")
    (job,) = dataset.jobs()
    extract(job)
    (lock,) = job.locks.iterdir()
    shutil.rmtree(job.folder)
    with FileLock(lock):
        assert extract(job) is None
    assert not job.folder.exists()
    record = extract(job)
    assert record is not None
    assert record.status == "made"


def test_what_a_job_cannot_do_is_a_record(dataset, clip, own_worker):
    dataset.annotate(["v_a", "v_b", "v_c"])
    for name in "abc":
        shutil.copy(clip.path, dataset.videos / f"{name}.mp4")
    dataset.frames.mkdir()
    (dataset.frames / "v_b").write_text("no folder")
    folder = dataset.frames
    (second,) = run_jobs(extract, dataset.jobs()[1:2]).records
    own_worker(FULL)
    with pytest.raises(OSError, match=r"frames cannot be written: No space left on device: .*v_a"):
        run_jobs(extract, dataset.jobs())  # the others would fail, too
    there = "there already; remove it to have its frames made anew"
    assert second == JobRecord("set/frames/v_b", "failed", f"{folder / 'v_b'}: {there}")
    assert tree(folder) == {"v_b": b"no folder"}


WORK = textwrap.dedent("""
    import json, sys, time
    from pathlib import Path
    from litakit.data.frames import extract, frame_jobs
    from litakit.data.jobs import run_jobs
    from litakit.data.manifests import load_manifest
    from litakit.video import _client
    manifest, root, videos, _client.BOOT, go = sys.argv[1:]
    jobs = frame_jobs([load_manifest(manifest)], root, videos)
    print("ready", flush=True)
    while not Path(go).exists():
        time.sleep(0.01)
    report = run_jobs(extract, jobs)
    print(json.dumps({record.id: record.status for record in report.records}))
""")


def start_work(dataset, change):
    """A process that makes frames with a changed worker, from when a file called go is there."""
    places = [dataset.file, dataset.root, dataset.videos, boot(change), dataset.root / "go"]
    process = subprocess.Popen([sys.executable, "-c", WORK, *places], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Five clips, and the frames that a process makes of them when nobody disturbs it."""
    made = DataSet(tmp_path_factory.mktemp("several"))
    made.annotate([f"v_{name}" for name in "abcde"])
    for number, name in enumerate("abcde"):
        constant_rate(made.videos / f"{name}.mp4", 25, 50 + 10 * number, size=(64, 48))
    assert {record.status for record in run_jobs(extract, made.jobs()).records} == {"made"}
    return made


@pytest.fixture
def fresh(several, tmp_path):
    """The same, without any frames."""
    copy = DataSet(tmp_path)
    shutil.rmtree(copy.videos)
    copy.videos.symlink_to(several.videos)
    for file in (several.root / "set").glob("*.json"):
        shutil.copy(file, copy.root / "set")
    return copy


def test_killed_in_the_middle_and_started_again(several, fresh):
    process = start_work(fresh, STUCK)
    (fresh.root / "go").touch()
    half = fresh.frames / ".v_c.part"
    while len(list(half.glob("*/*.jpg"))) < 4:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert names(fresh.frames) == [".locks", ".v_c.part", "v_a", "v_b"]
    report = run_jobs(extract, fresh.jobs())
    assert [record.status for record in report.records] == ["kept", "kept", "made", "made", "made"]
    assert tree(fresh.frames) == tree(several.frames)


def test_two_processes_at_once_share_the_work(several, fresh):
    processes = [start_work(fresh, SLOW) for _ in range(2)]
    (fresh.root / "go").touch()
    ends = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    made = [{name for name, status in end.items() if status == "made"} for end in ends]
    assert made[0]
    assert made[1]
    assert not made[0] & made[1]
    assert len(made[0] | made[1]) == 5
    assert all(set(end.values()) <= {"made", "kept"} and len(end) == 5 for end in ends)
    assert tree(fresh.frames) == tree(several.frames)


# The command line


def test_frames_of_a_data_set(dataset, clip):
    dataset.annotate(["v_a", "v_bad", "v_cut"], val=["b", "gone"])
    for name in "ab":
        shutil.copy(clip.path, dataset.videos / f"v_{name}.mp4")
    (dataset.videos / "bad.mp4").write_bytes(b"\0" * 5000)
    constant_rate(dataset.videos / "cut.mkv", 25, 100)
    cut_off(dataset.videos / "cut.mkv", 0.6)
    result = dataset.cli("--size", "64x48", "--quality", "60")
    assert result.exit_code == 1
    head, *lines = result.stdout.splitlines()
    assert head == "3 made, 0 there before, 2 failed"
    assert lines[0].startswith(f"  set/frames/v_bad: {dataset.videos / 'bad.mp4'}: not ")
    assert lines[1].startswith("  set/frames/v_gone: no video called v_gone, ")
    assert lines[2] == "made, though something is odd about 1:"
    assert re.match(r"  set/frames/v_cut: .*4\.00 s, .* the file may be cut off$", lines[3])
    assert len(lines) == 4
    assert "frames: 100%" in result.stderr
    assert names(dataset.frames) == [".locks", "v_a", "v_b", "v_cut"]
    with Image.open(dataset.frames / "v_b" / "000010.jpg") as image:
        assert image.size == (64, 48)
    again = dataset.cli()
    assert again.exit_code == 1
    assert again.stdout.splitlines()[0] == "0 made, 3 there before, 2 failed"
    dataset.annotate(["v_a"])
    done = dataset.cli("--fps", "5")
    assert (done.exit_code, done.stdout) == (0, "0 made, 1 there before, 0 failed\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", "320"], "--size must be width x height in pixels, such as 320x240, or native, got '320'"),
        (["--size", "0x240"], "size must be a width and a height of 1 to 65500 px, got (0, 240)"),
        (["--fps", "1"], "set reads its folders at 5 frames a second: made at 1, they would be read at"),
        (["--quality", "0"], "Invalid value for '--quality'"),
        (["--root", "nowhere"], "nowhere: no such data root"),
    ],
)
def test_wrong_usage(dataset, clip, options, words):
    dataset.annotate(["v_a"])
    shutil.copy(clip.path, dataset.videos / "a.mp4")
    result = dataset.cli(*options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert not list(dataset.root.rglob("*.jpg"))


def test_native_size(dataset, clip):
    dataset.annotate(["v_a"])
    shutil.copy(clip.path, dataset.videos / "a.mp4")
    assert dataset.cli("--size", "native").exit_code == 0
    with Image.open(dataset.frames / "v_a" / "000001.jpg") as image:
        assert image.size == (160, 120)
