"""The time axis: what frames show, what their pts say and what the model is told are the same seconds.

Every frame of these videos has a clock burnt in (tests/video_files.py), read back from decoded pixels. A
decoder that is off by one frame, in either direction, fails what a sound one passes: that is tested too.
"""

import dataclasses
import json
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from litakit import audit as audit_module
from litakit.audit import EDGE_SECONDS, audit
from litakit.time_tokens import TimeTokenizer
from litakit.video import FrameBatch, FrameTransform, VideoError, choose_frames, decode_frames
from tests.conftest import GOLDEN
from tests.video_files import (
    B_FRAMES,
    CLOCK_SECONDS,
    ClockVideo,
    b_frames,
    clock_error,
    constant_rate,
    late_start,
    read_clock,
    trimmed_by_edit_list,
    variable_rate,
    wrong_header_duration,
)

NTSC = Fraction(30000, 1001)
VIEW = FrameTransform(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
MAKERS: dict[str, Callable[[Path], ClockVideo]] = {
    "constant.mp4": constant_rate,
    "b_frames_edit_list.mp4": b_frames,
    "b_frames.mkv": b_frames,
    "29.97.mp4": lambda path: b_frames(path, NTSC, 60),
    "29.97.mkv": lambda path: constant_rate(path, NTSC, 60),
    "variable.mp4": variable_rate,
    "variable_b_frames.mkv": lambda path: variable_rate(path, options=B_FRAMES),
    "first_pts_3s.mp4": late_start,
    "first_pts_3s.mkv": late_start,
    "first_pts_3s.ts": lambda path: late_start(path, options=B_FRAMES),
    "edit_list_cuts_the_beginning.mp4": trimmed_by_edit_list,
}
COUNTS = (100, 20)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ClockVideo]:
    folder = tmp_path_factory.mktemp("clocks")
    made: dict[str, ClockVideo] = {}

    def get(name: str) -> ClockVideo:
        if name not in made:
            made[name] = MAKERS[name](folder / name)
        return made[name]

    return get


def check_time_axis(batch: FrameBatch, made: ClockVideo) -> None:
    """What pixels show, what pts say, what the maker meant and what the model is told agree."""
    assert batch.info.num_frames == len(made.shown)
    assert batch.duration == pytest.approx(made.duration, abs=0.002)
    assert clock_error(batch, made) <= CLOCK_SECONDS
    starts, ends = np.array(made.shown)[batch.frame_indices], np.array(made.ends)[batch.frame_indices]
    assert batch.pts_seconds == pytest.approx(starts, abs=0.001)
    codec = TimeTokenizer(len(batch.pixels))
    told = np.array([codec.decode(index, made.duration) for index in range(len(batch.pixels))])
    distance = np.maximum(0, np.maximum(starts - told, told - ends))
    longest = max(end - start for start, end in zip(made.shown, made.ends, strict=True))
    assert distance.max() <= longest / 2 + CLOCK_SECONDS


@pytest.mark.parametrize("num_frames", COUNTS)
@pytest.mark.parametrize("name", MAKERS)
def test_the_shown_second_is_the_told_second(videos, name: str, num_frames: int) -> None:
    made = videos(name)
    check_time_axis(decode_frames(made.path, num_frames, transform=VIEW), made)


@pytest.mark.parametrize("name", ["b_frames_edit_list.mp4", "29.97.mkv", "variable.mp4", "first_pts_3s.mkv"])
def test_decord_shows_the_same_seconds(videos, name: str) -> None:
    made = videos(name)
    batch = decode_frames(made.path, 20, backend="decord")
    assert batch.backend == "decord"
    check_time_axis(batch, made)


@pytest.mark.parametrize("name", MAKERS)
def test_a_part_shows_its_own_seconds(videos, name: str) -> None:
    made = videos(name)
    start, end = 0.31 * made.duration, 0.64 * made.duration
    batch = decode_frames(made.path, 15, start=start, end=end, transform=VIEW)
    assert clock_error(batch, made) <= CLOCK_SECONDS
    assert batch.start == start
    assert batch.duration == pytest.approx(end - start)
    first, last = batch.frame_indices[0], batch.frame_indices[-1]
    assert made.shown[first] <= start < made.ends[first]
    assert made.shown[last] < end
    assert last == len(made.shown) - 1 or made.shown[last + 1] >= end - 1e-6


def off_by(frames: int, made: ClockVideo) -> Callable[..., FrameBatch]:
    """A decoder that hands over pictures some frames later or earlier than those it names."""

    def decode(source, num_frames: int = 100, **kwargs) -> FrameBatch:
        batch = decode_frames(source, num_frames, **kwargs)
        every = decode_frames(source, len(made.shown), sampling="index", transform=kwargs.get("transform"))
        wrong = np.clip(batch.frame_indices + frames, 0, len(made.shown) - 1)
        return dataclasses.replace(batch, pixels=every.pixels[wrong])

    return decode


@pytest.mark.parametrize("frames", [-1, 1])
@pytest.mark.parametrize("name", [name for name in MAKERS if "variable" not in name])
def test_a_decoder_off_by_one_frame_fails(videos, monkeypatch, name: str, frames: int) -> None:
    made = videos(name)
    wrong = off_by(frames, made)
    with pytest.raises(AssertionError):
        check_time_axis(wrong(made.path, 100, transform=VIEW), made)
    monkeypatch.setattr(audit_module, "decode_frames", wrong)
    report = audit(made.path)
    assert not report.ok
    assert report.worst_error_seconds > report.half_frame_interval_seconds
    assert any("are not those of the frames" in note for note in report.notes)
    # Only where the clip at the first or last frame hides it is a picture right.
    first, last = 0, len(made.shown) - 1
    edge = last if frames > 0 else first
    assert all(row.pixels_match == (row.frame_index == edge) for row in report.rows)


def test_a_decoder_off_by_one_frame_fails_at_a_variable_rate(videos, monkeypatch) -> None:
    made = videos("variable.mp4")
    monkeypatch.setattr(audit_module, "decode_frames", off_by(1, made))
    report = audit(made.path)
    assert not report.ok
    assert sum(not row.pixels_match for row in report.rows) > 90


@pytest.mark.parametrize("frames", [-1, 1])
def test_times_off_by_one_frame_fail(videos, monkeypatch, frames: int) -> None:
    made = videos("29.97.mp4")

    def wrong(source, num_frames: int, **kwargs) -> FrameBatch:
        batch = decode_frames(source, num_frames, **kwargs)
        return dataclasses.replace(batch, pts_seconds=batch.pts_seconds + frames / float(NTSC))

    with pytest.raises(AssertionError):
        check_time_axis(wrong(made.path, 100, transform=VIEW), made)
    monkeypatch.setattr(audit_module, "decode_frames", wrong)
    assert not audit(made.path).ok


def test_a_duration_from_a_wrong_header_fails(videos, monkeypatch) -> None:
    made = videos("constant.mp4")
    monkeypatch.setattr(
        audit_module,
        "decode_frames",
        lambda *args, **kwargs: dataclasses.replace(decode_frames(*args, **kwargs), duration=6.0),
    )
    report = audit(made.path)
    assert not report.ok
    assert report.worst_error_seconds == pytest.approx(4.0)
    assert "the model is told 6.000 s, the frames last 2.000 s" in report.notes


@pytest.mark.parametrize("num_frames", COUNTS)
@pytest.mark.parametrize("name", MAKERS)
def test_audit_of_sound_files(videos, name: str, num_frames: int) -> None:
    made = videos(name)
    report = audit(made.path, num_frames)
    assert report.ok
    assert report.num_frames == len(made.shown)
    assert report.duration == pytest.approx(made.duration, abs=0.002)
    assert report.decoded_seconds == pytest.approx(made.duration, abs=0.002)
    assert report.is_variable_rate == ("variable" in name)
    at_work = {"b_frames_edit_list.mp4", "29.97.mp4", "first_pts_3s.mp4", "edit_list_cuts_the_beginning.mp4"}
    assert report.has_edit_list == (name in at_work)
    assert report.first_pts_seconds == pytest.approx(3.0 if "first_pts" in name else 0.0, abs=0.1)
    assert not report.has_wrong_container_duration
    for index, row in enumerate(report.rows):
        assert row.token_index == index
        assert row.told_seconds == pytest.approx(index * report.duration / (num_frames - 1))
        assert row.start == pytest.approx(made.shown[row.frame_index], abs=0.001)
        assert row.end == pytest.approx(made.ends[row.frame_index], abs=0.001)
    if "variable" not in name:
        assert report.worst_error_seconds <= report.half_frame_interval_seconds + 0.0005


def test_audit_of_a_wrong_header(tmp_path: Path) -> None:
    made = wrong_header_duration(tmp_path / "wrong.mkv", factor=3.0)
    report = audit(made.path)
    assert report.has_wrong_container_duration
    assert report.container_duration == pytest.approx(6.0)
    assert report.duration == pytest.approx(2.0)
    assert report.ok
    assert "header duration 6.000 s (wrong)" in str(report)


@pytest.mark.parametrize(("box", "factor"), [(b"mvhd", 4.0), (b"mvhd", 0.25), (b"mdhd", 0.25)])
def test_audit_of_a_wrong_header_of_either_kind(tmp_path: Path, box: bytes, factor: float) -> None:
    """An mp4 says how long it is for the whole and for each track."""
    made = b_frames(tmp_path / "wrong.mp4")
    data = bytearray(made.path.read_bytes())
    at = data.index(box) + 20
    (length,) = struct.unpack_from(">I", data, at)
    struct.pack_into(">I", data, at, round(factor * length))
    made.path.write_bytes(data)
    report = audit(made.path)
    assert report.has_wrong_container_duration
    assert report.container_duration == pytest.approx(2 * factor)
    assert report.duration == pytest.approx(2.0)
    assert report.ok


@pytest.mark.parametrize("name", ["sound.mkv", "sound.mp4"])
def test_sound_that_lasts_longer_makes_no_wrong_header(tmp_path: Path, name: str) -> None:
    made = constant_rate(tmp_path / name, audio_seconds=5.0)
    report = audit(made.path)
    assert not report.has_wrong_container_duration
    assert report.duration == pytest.approx(2.0, abs=0.002)


@pytest.mark.parametrize(
    "name",
    ["d_short_320x240_25fps_3s.mp4", "e_vfr_426x240_20s.mp4", "g_rotmeta90_480x272_25fps_5s.mp4"],
)
def test_audit_of_golden_videos(name: str) -> None:
    report = audit(GOLDEN / "videos" / name)
    assert report.ok
    assert report.is_variable_rate == ("vfr" in name)
    assert report.has_wrong_container_duration == ("vfr" in name)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_audit_of_turned_videos(tmp_path: Path, turn: int) -> None:
    made = constant_rate(tmp_path / "turned.mp4", num_frames=12, rotation=turn)
    assert audit(made.path, 12).ok


@pytest.mark.parametrize("num_video_frames", [1, 2, 3, 7])
def test_audit_of_fewer_frames_than_tokens(tmp_path: Path, num_video_frames: int) -> None:
    made = constant_rate(tmp_path / "short.mp4", num_frames=num_video_frames)
    report = audit(made.path)
    assert report.ok
    assert {row.frame_index for row in report.rows} == set(range(num_video_frames))


def test_report_as_json_and_as_words(videos) -> None:
    made = videos("b_frames_edit_list.mp4")
    report = audit(made.path, 5)
    data = json.loads(report.to_json())
    assert data["worst_error_seconds"] == report.worst_error_seconds
    assert data["ok"] is True
    assert data["schema_version"] == 1
    assert [row["token_index"] for row in data["rows"]] == [0, 1, 2, 3, 4]
    # 50 frames of 25 a second: frames 0, 12, 24 (24.5 half to even), 37, 49; tokens at 0, 0.5, 1, 1.5, 2 s.
    assert [row["frame_index"] for row in data["rows"]] == [0, 12, 24, 37, 49]
    assert [round(row["told_seconds"], 6) for row in data["rows"]] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [round(row["start"], 6) for row in data["rows"]] == [0.0, 0.48, 0.96, 1.48, 1.96]
    assert [round(row["error_seconds"], 6) for row in data["rows"]] == [0.0, 0.0, 0.0, 0.0, 0.0]
    words = str(report)
    assert "  <t1>    0.500 s      12    0.480 -    0.520 s  0.000 s" in words
    assert "edit list       yes" in words
    assert words.endswith("good")


@given(
    num_available=st.integers(1, 4000),
    num_frames=st.integers(2, 300),
    fps=st.sampled_from([1.0, 10.0, 24.0, 25.0, float(NTSC), 60.0]),
)
def test_index_rule_errs_by_half_a_frame_at_most(num_available: int, num_frames: int, fps: float) -> None:
    boundaries = np.arange(num_available + 1) / fps
    choice = choose_frames(boundaries, num_frames, average_fps=fps)
    codec = TimeTokenizer(num_frames)
    told = np.array([codec.decode(index, choice.duration) for index in range(num_frames)])
    starts, ends = boundaries[choice.indices], boundaries[choice.indices + 1]
    assert np.maximum(starts - told, told - ends).max() <= 0.5 / fps + EDGE_SECONDS


def test_the_clock_is_not_read_where_there_is_none() -> None:
    with pytest.raises(ValueError, match="no clock"):
        read_clock(np.zeros((50, 50, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="no clock"):
        read_clock(np.full((50, 50, 3), 255, dtype=np.uint8))


def test_audit_needs_a_video_file(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(VideoError, match=r"a\.png: an audit needs a video file; a still image has no times"):
        audit(tmp_path / "a.png")
    with pytest.raises(VideoError, match="an audit needs a video file; a folder's frames"):
        audit(tmp_path)
    with pytest.raises(VideoError, match=r"none\.mp4: no such file"):
        audit(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match="num_frames of at least 2, got 1"):
        audit(tmp_path / "none.mp4", 1)
