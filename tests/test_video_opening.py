"""Opening many sources: each is whole, damaged or unreadable, whether one worker says so or several."""

import os
from pathlib import Path

import psutil
import pytest
from PIL import Image

from litakit.video import VideoError, VideoInfo, probe
from litakit.video.opening import Source, open_all
from tests.video_files import constant_rate, cut_off


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return constant_rate(tmp_path_factory.mktemp("video") / "whole.mp4", 25, 100).path


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 12):
        Image.effect_noise((32, 24), 60).convert("RGB").save(folder / f"{number:06d}.jpg")
    return folder


def still(path):
    Image.new("RGB", (8, 6)).save(path)
    return path


def warnings_of(source, fps=None):
    (info,) = open_all([Source(source, fps)])
    assert isinstance(info, VideoInfo), info
    return info.warnings


def reason_of(source, fps=None):
    (error,) = open_all([Source(source, fps)])
    assert isinstance(error, VideoError), error
    return error.reason


def with_data(video, path, change):
    """A copy whose header is as it was, and whose frames' bytes are changed."""
    content = bytearray(video.read_bytes())
    begin = content.index(b"mdat") + 4
    end = begin - 8 + int.from_bytes(content[begin - 8 : begin - 4], "big")
    content[begin:end] = change(bytes(content[begin:end]))
    path.write_bytes(content)
    return path


def test_what_is_whole_is_as_probe_says(video, frames, tmp_path):
    picture = still(tmp_path / "a.png")
    seen = []
    opened = open_all(
        [Source(video), Source(frames, 5), Source(picture)], progress=lambda *place: seen.append(place)
    )
    assert opened == [probe(video), probe(frames, fps=5), probe(picture)]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert open_all([]) == []
    with pytest.raises(ValueError, match="num_workers must be at least 1, got 0"):
        open_all([], num_workers=0)


def test_videos_that_are_cut_off_or_whose_content_is_broken(video, tmp_path):
    whole = constant_rate(tmp_path / "cut.mkv", 25, 50).path
    assert "the file may be cut off" in warnings_of(cut_off(whole))[0]
    garbage = with_data(video, tmp_path / "garbage.mp4", lambda data: b"\x55" * len(data))
    assert "not one of its 100 video packets can be decoded" in reason_of(garbage)
    half = with_data(
        video, tmp_path / "half.mp4", lambda data: data[: len(data) // 2].ljust(len(data), b"\0")
    )
    assert probe(half).warnings == ()  # its index and its first frame are good
    assert any("cannot be decoded" in warning for warning in warnings_of(half))
    assert reason_of(tmp_path / "gone.mp4") == "no such file or folder"


def test_a_folder_with_some_frames_that_are_none(frames):
    assert warnings_of(frames, 5) == ()
    (frames / "000004.jpg").write_bytes(b"")
    (frames / "000003.jpg").write_bytes(b"")
    (frames / "000000.jpg").symlink_to("nowhere.jpg")
    (frames / "notes.txt").write_bytes(b"")
    assert warnings_of(frames, 5) == (
        "2 of its frames are empty files (0 bytes), such as 000003.jpg",
        "1 of its frames are links that lead nowhere, such as 000000.jpg",
    )


@pytest.mark.parametrize("name", ["000006.jpg", "000011.jpg"])
def test_a_frame_in_the_middle_or_at_the_end_that_is_cut_off(frames, name):
    cut_off(frames / name)
    (warning,) = warnings_of(frames, 5)
    assert warning.startswith(f"{name}: not a readable image")


def test_a_folder_whose_first_frame_is_bad_is_unreadable(frames):
    cut_off(frames / "000001.jpg")
    assert reason_of(frames, 5).startswith("000001.jpg: not a readable image")
    assert "needs fps= or duration=" in reason_of(frames)


def test_several_workers_say_the_same_in_the_same_order_and_end(video, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"words")
    sources = [Source(path) for _ in range(22) for path in (video, bad, still(tmp_path / "a.png"))]
    before = {child.pid for child in psutil.Process().children()}
    most = []
    opened = open_all(
        sources,
        num_workers=2,
        progress=lambda *_: most.append(len({c.pid for c in psutil.Process().children()} - before)),
    )
    assert max(most) == 2
    assert {child.pid for child in psutil.Process().children()} <= before
    assert [str(result) for result in opened] == [str(result) for result in open_all(sources[:3]) * 22]


def test_whoever_is_stopped_leaves_no_worker_behind(tmp_path):
    sources = [Source(still(tmp_path / "a.png"))] * 64
    before = {child.pid for child in psutil.Process().children()}

    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_all(sources, num_workers=2, progress=stop)
    assert {child.pid for child in psutil.Process().children()} <= before


def test_what_the_system_refuses_is_one_source_alone(frames, monkeypatch):
    assert reason_of(Path("x" * 300)) == "File name too long"

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert reason_of(frames, 5) == "Permission denied"
