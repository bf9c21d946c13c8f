"""Formats: each one read whole, with the right times; the clock in the frames says whether."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from litakit.video import FrameTransform, VideoError, _scan, decode_frames, frame_boundaries, probe
from litakit.video._client import worker
from tests.video_files import (
    B_FRAMES,
    CLOCK_SECONDS,
    ClockVideo,
    b_frames,
    clock_error,
    constant_rate,
    cut_off,
    even_ticks,
    no_frames,
    only_audio,
    read_clock,
    trimmed_by_edit_list,
    variable_rate,
    write_clock_video,
)

VIEW = FrameTransform(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Format:
    name: str
    codec: str  # as VideoInfo names it
    options: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (160, 120)


H265 = {"codec": "libx265"}
VP9 = {"codec": "libvpx-vp9"}
AV1 = {"codec": "libsvtav1"}
MPEG4 = {"codec": "mpeg4"}
FORMATS = [
    Format("h264.mp4", "h264"),
    Format("h264.mov", "h264", {"options": B_FRAMES}),
    Format("h264.mkv", "h264", {"options": B_FRAMES}),
    Format("h264.avi", "h264"),
    Format("h264.ts", "h264", {"options": B_FRAMES}),
    Format("h264.flv", "h264"),
    Format("fragments.mp4", "h264", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    Format("all_key_frames.mp4", "h264", {"key_every": 1}),
    Format("one_key_frame.mp4", "h264", {"key_every": 1000, "options": B_FRAMES}),
    Format(
        "open_gop.mkv", "h264", {"options": {**B_FRAMES, "x264-params": "bframes=3:open-gop=1:b-adapt=0"}}
    ),
    Format("hevc.mp4", "hevc", H265),
    Format("hevc.mkv", "hevc", {**H265, "options": {"x265-params": "log-level=none:pools=1:bframes=4"}}),
    Format("vp8.webm", "vp8", {"codec": "libvpx"}),
    Format("vp9.webm", "vp9", VP9),
    Format("vp9_hidden_frames.mkv", "vp9", {**VP9, "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
    Format("vp9.mp4", "vp9", VP9),
    Format("av1.mp4", "av1", AV1),
    Format("av1.webm", "av1", AV1),
    Format("mpeg4.mp4", "mpeg4", MPEG4),
    Format("mpeg4.avi", "mpeg4", MPEG4),
    Format("mpeg4_b_frames.avi", "mpeg4", {**MPEG4, "options": {"bf": "2"}}),
    Format("mpeg2.mpg", "mpeg2video", {"codec": "mpeg2video", "options": {"b": "4M", "bf": "2"}}),
    Format("mjpeg.avi", "mjpeg", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    Format("lossless.mkv", "ffv1", {"codec": "ffv1"}),
    Format("ten_bits.mp4", "hevc", {**H265, "pix_fmt": "yuv420p10le"}),
    Format("ten_bits.mkv", "h264", {"pix_fmt": "yuv420p10le"}),
    Format("ten_bits.webm", "av1", {**AV1, "pix_fmt": "yuv420p10le"}),
    Format("grey.mkv", "ffv1", {"codec": "ffv1", "pix_fmt": "gray"}),
    Format("full_colour.mp4", "h264", {"pix_fmt": "yuv444p"}),
    Format("odd_sizes.mkv", "h264", {"pix_fmt": "yuv444p"}, size=(161, 123)),
    Format("odd_sizes.webm", "vp9", VP9, size=(135, 97)),
    Format("portrait.mp4", "h264", size=(90, 160)),
    Format("wide.mp4", "h264", size=(400, 64)),
    Format("longer_audio.mp4", "h264", {"audio_seconds": 3.0, "options": B_FRAMES}),
    Format("shorter_audio.mkv", "h264", {"audio_seconds": 0.3}),
    Format("no_duration.mkv", "h264", {"container_options": {"live": "1"}, "options": B_FRAMES}),
    Format("no_times.h264", "h264", {"options": B_FRAMES}),
]


@pytest.mark.parametrize("case", FORMATS, ids=lambda case: case.name)
def test_format(tmp_path: Path, case: Format) -> None:
    made = constant_rate(tmp_path / case.name, 25, 40, size=case.size, **case.options)
    batch = decode_frames(made.path, 60, transform=VIEW)
    info = batch.info
    assert info.codec in (case.codec, f"lib{'dav1d' if case.codec == 'av1' else case.codec}")
    assert (info.width, info.height) == case.size
    assert info.num_frames == 40
    assert batch.duration == pytest.approx(1.6, abs=0.002)
    assert not info.is_variable_rate
    assert info.warnings == ()
    assert clock_error(batch, made) <= CLOCK_SECONDS
    assert batch.frame_indices.tolist() == np.round(np.linspace(0, 39, 60)).astype(int).tolist()
    assert (info.container_duration is None) == case.name.startswith("no_")
    assert probe(made.path) == info
    native = decode_frames(made.path, 3)
    assert native.pixels.shape == (3, case.size[1], case.size[0], 3)
    assert clock_error(native, made) <= CLOCK_SECONDS


@pytest.mark.parametrize(
    ("name", "options"),
    [("v.mkv", VP9), ("v.mp4", AV1), ("v.mp4", H265), ("v.mp4", {"options": B_FRAMES}), ("v.mov", MPEG4)],
)
def test_variable_rate_in_other_codecs(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    made = variable_rate(tmp_path / name, 40, **options)
    batch = decode_frames(made.path, 50, transform=VIEW)
    assert batch.info.is_variable_rate
    assert batch.sampling == "time"
    assert clock_error(batch, made) <= CLOCK_SECONDS
    assert frame_boundaries(made.path)[:-1] == pytest.approx(made.shown, abs=0.001)


X264 = "keyint=15:min-keyint=15:scenecut=0:bframes=3:b-adapt=0"
JUMPS: dict[str, dict[str, Any]] = {
    "closed.mp4": {"x264-params": X264},
    "open.mp4": {"x264-params": X264 + ":open-gop=1"},
    "open.mkv": {"x264-params": X264 + ":open-gop=1"},
    "refresh.mp4": {"x264-params": "keyint=20:intra-refresh=1"},
    "open_hevc.mp4": {"x265-params": "log-level=none:pools=1:keyint=15:min-keyint=15:open-gop=1:bframes=4"},
    "closed.ts": {"x264-params": X264},
    "open.ts": {"x264-params": X264 + ":open-gop=1"},
    # Intra pictures that later ones refer across; FFmpeg calls them key frames.
    "loose.mp4": {"x264-params": "keyint=250:min-keyint=200:scenecut=400:bframes=0"},
}


@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize("name", JUMPS)
def test_a_jump_shows_what_decoding_from_the_start_shows(tmp_path: Path, name: str, backend: str) -> None:
    codec = "libx265" if "hevc" in name else "libx264"
    made = constant_rate(tmp_path / name, 25, 90, codec=codec, key_every=15, options=JUMPS[name])
    with av.open(made.path) as container:
        every = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert len(every) == 90
    if name.endswith(".ts") and backend == "decord":
        with pytest.raises(
            VideoError, match=r'decord does not find the beginning of mpegts; use backend="pyav"'
        ):
            decode_frames(made.path, 3, backend=backend)
        return
    for num_frames, start in ((7, None), (3, 1.7), (1, 0.9), (1, 2.44), (1, 3.1)):
        batch = decode_frames(made.path, num_frames, start=start, backend=backend)
        assert np.array_equal(batch.pixels, every[batch.frame_indices])
        assert batch.notes == ()  # in particular, nothing had to be decoded a second time


def test_gif(tmp_path: Path) -> None:
    ticks = even_ticks(30, step=4)
    made = write_clock_video(tmp_path / "a.gif", ticks, Fraction(1, 100), codec="gif", pix_fmt="rgb8")
    batch = decode_frames(made.path, 30, transform=VIEW)
    assert batch.info.codec == "gif"
    assert batch.info.kind == "video"
    assert batch.duration == pytest.approx(1.2)
    assert clock_error(batch, made) <= CLOCK_SECONDS


@pytest.mark.parametrize("num_video_frames", [1, 2])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.gif"])
def test_one_frame_and_two(tmp_path: Path, name: str, num_video_frames: int) -> None:
    options: dict[str, Any] = {
        "a.webm": VP9,
        "a.avi": MPEG4,
        "a.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    }.get(name, {})
    made = constant_rate(tmp_path / name, 25, num_video_frames, **options)
    batch = decode_frames(made.path, 100, transform=VIEW)
    assert batch.info.num_frames == num_video_frames
    assert batch.frame_indices.tolist() == np.round(np.linspace(0, num_video_frames - 1, 100)).tolist()
    assert clock_error(batch, made) <= CLOCK_SECONDS
    assert batch.duration is not None
    assert 0.03 < batch.duration < 0.25


@pytest.mark.parametrize("turn", [90, 180, 270])
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_turned_video_is_shown_upright(tmp_path: Path, turn: int, backend: str) -> None:
    made = constant_rate(tmp_path / "turned.mp4", 25, 8, size=(160, 96), rotation=turn)
    batch = decode_frames(made.path, 8, backend=backend)
    shown = (160, 96) if turn == 180 else (96, 160)
    assert (batch.info.width, batch.info.height) == shown
    assert batch.info.rotation == turn
    assert batch.pixels.shape[1:3] == shown[::-1]
    assert clock_error(batch, made) <= CLOCK_SECONDS


def test_4k(tmp_path: Path) -> None:
    made = constant_rate(tmp_path / "4k.mp4", 25, 10, size=(3840, 2160), options={"preset": "ultrafast"})
    batch = decode_frames(made.path, 10, transform=VIEW)
    assert (batch.info.width, batch.info.height) == (3840, 2160)
    assert batch.pixels.shape == (10, 224, 224, 3)
    assert clock_error(batch, made) <= CLOCK_SECONDS


def test_memory_does_not_grow_with_the_frames_of_4k(tmp_path: Path) -> None:
    """A frame of 4K is 12 MB as decoded and 25 MB in RGB; the worker at its highest, above idle."""
    options = {"preset": "ultrafast"}
    made = constant_rate(tmp_path / "4k.mp4", 25, 45, size=(3840, 2160), options=options)
    Image.new("RGB", (8, 8)).save(tmp_path / "tiny.png")
    worker().close()
    decode_frames(tmp_path / "tiny.png", 1)
    pid = worker().pid
    status = Path(f"/proc/{pid}/status")
    idle = int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    decode_frames(made.path, 45, transform=VIEW)
    highest = int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    assert worker().pid == pid
    assert (highest - idle) / 1000 < 380


def test_size_that_changes_on_the_way(tmp_path: Path) -> None:
    """Two transport streams one after the other: cameras and broadcasters make such files."""
    first = constant_rate(tmp_path / "a.ts", 25, 25)
    second = write_clock_video(tmp_path / "b.ts", even_ticks(25, 25), Fraction(1, 25), size=(240, 180))
    both = tmp_path / "both.ts"
    both.write_bytes(first.path.read_bytes() + second.path.read_bytes())
    batch = decode_frames(both, 10, transform=VIEW)
    shown = [read_clock(rgb) for rgb in batch.pixels]
    expected = [pts if pts < 0.99 else pts - 1 for pts in batch.pts_seconds]
    assert shown == pytest.approx(expected, abs=CLOCK_SECONDS)


def test_sound_that_begins_late(tmp_path: Path) -> None:
    """A stream that appears after the demuxer's first look."""
    silent = constant_rate(tmp_path / "a.ts", 25, 25)
    with_sound = write_clock_video(tmp_path / "b.ts", even_ticks(25, 25), Fraction(1, 25), audio_seconds=2.0)
    nothing = (bytes([0x47, 0x1F, 0xFF, 0x10]) + b"\xff" * 184) * 30_000
    late = tmp_path / "late.ts"
    late.write_bytes(silent.path.read_bytes() + nothing + with_sound.path.read_bytes())
    batch = decode_frames(late, 50, sampling="index", transform=VIEW)
    assert batch.info.num_frames == 50
    assert [read_clock(rgb) for rgb in batch.pixels] == pytest.approx(
        [*silent.shown, *silent.shown], abs=1e-3
    )


def test_a_late_stream_at_the_end_of_the_file_is_only_the_end() -> None:
    """PyAV looks for it in a list that it is not in; whether it does, chance decides."""

    def source() -> Iterator[str]:
        yield "packet"
        raise IndexError

    packets: Any = source()
    assert _scan.next_packet(packets) == "packet"
    assert _scan.next_packet(packets) is None


CUTTABLE = {
    "cut.mkv": {"options": B_FRAMES},
    "cut.webm": VP9,
    "cut.avi": MPEG4,
    "cut.ts": {"options": B_FRAMES},
    "cut_fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "cut_front_index.mp4": {"container_options": {"movflags": "faststart"}, "options": B_FRAMES},
    "cut_av1.mkv": AV1,
    "cut.h264": {},
}


@pytest.mark.parametrize("name", CUTTABLE)
def test_cut_off_in_the_middle(tmp_path: Path, name: str) -> None:
    made = constant_rate(tmp_path / name, 25, 100, **CUTTABLE[name])
    cut_off(made.path, 0.6)
    batch = decode_frames(made.path, 40, transform=VIEW)
    assert 30 <= batch.info.num_frames < 90
    assert batch.duration == pytest.approx(batch.info.num_frames / 25, abs=0.1)
    # The last frame may be damaged; every other shows its own second.
    whole = batch.frame_indices < batch.info.num_frames - 2
    shown = np.array([read_clock(rgb) for rgb in batch.pixels[whole]])
    assert shown == pytest.approx(batch.pts_seconds[whole], abs=CLOCK_SECONDS)


@pytest.mark.parametrize("name", ["cut.mkv", "cut.webm", "cut_front_index.mp4"])
def test_what_is_cut_off_is_reported(tmp_path: Path, name: str) -> None:
    made = constant_rate(tmp_path / name, 25, 100, **CUTTABLE[name])
    assert decode_frames(made.path, 2).notes == ()
    cut_off(made.path, 0.6)
    notes = decode_frames(made.path, 2).notes
    assert any("cut off" in note for note in notes), notes


def test_cut_off_before_its_index(tmp_path: Path) -> None:
    """An mp4 keeps its index at the end; without it nothing can be read."""
    made = constant_rate(tmp_path / "cut.mp4", 25, 50)
    cut_off(made.path, 0.6)
    with pytest.raises(VideoError, match=r"cut\.mp4: not a readable video .*its index is missing"):
        decode_frames(made.path, 2)


def test_what_an_edit_list_cuts_away_is_no_damage(tmp_path: Path) -> None:
    made = trimmed_by_edit_list(tmp_path / "trimmed.mp4")
    batch = decode_frames(made.path, 40, transform=VIEW)
    assert clock_error(batch, made) <= CLOCK_SECONDS
    assert batch.notes == ()


def test_damage_in_the_middle_spoils_only_what_is_damaged(tmp_path: Path) -> None:
    made = b_frames(tmp_path / "damaged.mkv", 25, 100)
    data = bytearray(made.path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    made.path.write_bytes(data)
    batch = decode_frames(made.path, 100, transform=VIEW)
    right = 0
    for rgb, pts in zip(batch.pixels, batch.pts_seconds.tolist(), strict=True):
        try:
            right += abs(read_clock(rgb) - pts) <= CLOCK_SECONDS
        except ValueError:
            continue
    assert right >= 60


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("sound.mp4", only_audio, "no video in it, only audio"),
        ("sound.mkv", only_audio, "no video in it, only audio"),
        ("nothing.mp4", no_frames, "not"),
    ],
)
def test_files_without_pictures(tmp_path: Path, name: str, make: Callable[[Path], Path], reason: str) -> None:
    make(tmp_path / name)
    with pytest.raises(VideoError, match=rf"{name}: .*{reason}"):
        decode_frames(tmp_path / name, 4)


def test_made_videos_are_what_they_claim(tmp_path: Path) -> None:
    """The makers: an edit list where there should be one, first pts, no header duration."""
    assert probe(b_frames(tmp_path / "b.mp4", 25, 12).path).has_edit_list
    assert not probe(b_frames(tmp_path / "b.mkv", 25, 12).path).has_edit_list
    live: ClockVideo = constant_rate(tmp_path / "live.mkv", 25, 12, container_options={"live": "1"})
    assert probe(live.path).container_duration is None
