"""Video: golden frames, sampling laws, equal backends, and the worker's behaviour."""

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from litakit.video import (
    FrameBatch,
    FrameTransform,
    VideoError,
    VideoInfo,
    choose_frames,
    codec_support,
    decode_frames,
    decoder_versions,
    frame_boundaries,
    has_constant_rate,
    probe,
    sample_indices,
    sample_timestamps,
)
from litakit.video._client import worker
from litakit.video._orientation import Orientation
from tests.conftest import GOLDEN

PIXELS = json.loads((GOLDEN / "pixels.json").read_text())
CASES = [(name, int(T)) for name, video in PIXELS["videos"].items() for T in video["cases"]]
CLIP = FrameTransform(224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
PADDED = FrameTransform(224, CLIP.mean, CLIP.std, aspect="pad")
LONG = GOLDEN / "videos/a_testsrc2_640x360_25fps_60s.mp4"
SHORT = GOLDEN / "videos/d_short_320x240_25fps_3s.mp4"
VARIABLE = GOLDEN / "videos/e_vfr_426x240_20s.mp4"
TURNED = GOLDEN / "videos/g_rotmeta90_480x272_25fps_5s.mp4"
FOLDER = GOLDEN / "videos/frames/v_bbbbbbbbbb2"


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def write_video(
    path: Path,
    num_frames: int = 50,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: list[int] | None = None,
    **options: str,
) -> Path:
    """Write 160x120 frames at 25 fps; frame i is grey of level 4 i, so that a frame tells its number."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options={"x264-params": "keyint=25", **options})
        stream.width, stream.height, stream.pix_fmt = 160, 120, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 4 * number, dtype=np.uint8), "rgb24")
            frame.pts = 40 * number if pts is None else pts[number]
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# Golden data


@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize(("name", "num_frames"), CASES)
def test_golden_frames(name: str, num_frames: int, backend: str) -> None:
    golden = PIXELS["videos"][name]
    case = golden["cases"][str(num_frames)]

    native = decode_frames(GOLDEN / name, num_frames, sampling="index", backend=backend)
    shrunk = decode_frames(GOLDEN / name, num_frames, sampling="index", backend=backend, transform=CLIP)

    assert native.frame_indices.tolist() == case["idx"]
    assert digest(native.pixels) == case["sha256_decoded_native_uint8_thwc"]
    assert digest(shrunk.pixels.transpose(0, 3, 1, 2)) == case["sha256_uint8_chw"]
    assert digest(CLIP.normalize(shrunk.pixels)) == case["sha256_float32"]
    assert (shrunk.backend, shrunk.sampling, shrunk.notes) == (backend, "index", ())
    assert shrunk.duration == case["vid_len"]
    assert shrunk.info.average_fps == pytest.approx(golden["avg_fps"])
    assert shrunk.info.num_frames == golden["n_frames"]


@pytest.mark.parametrize("name", PIXELS["videos"])
def test_golden_native_frame(name: str) -> None:
    index = PIXELS["videos"][name]["native_frame_index"]
    native = np.load(GOLDEN / "pixels_frames.npz")[f"{Path(name).name}/native_frame_{index}"]
    begin = float(frame_boundaries(GOLDEN / name)[index])

    frames = decode_frames(GOLDEN / name, 1, start=begin, sampling="index")

    assert frames.frame_indices.tolist() == [index]
    assert frames.pts_seconds.tolist() == [begin]
    assert np.array_equal(frames.pixels[0], native)
    assert native.shape == (frames.info.height, frames.info.width, 3)


@pytest.mark.parametrize("key", PIXELS["frame_folders"])
def test_golden_folders(key: str) -> None:
    golden = PIXELS["frame_folders"][key]
    name, num_frames, *pad = key.split("|")

    frames = decode_frames(GOLDEN / name, int(num_frames), fps=5, transform=PADDED if pad else CLIP)

    assert digest(CLIP.normalize(frames.pixels)) == golden["sha256_float32"]
    assert frames.frame_indices.tolist() == golden.get("idx", frames.frame_indices.tolist())
    assert frames.info.kind == "frames"
    assert frames.duration == pytest.approx(frames.info.num_frames / 5)


@pytest.mark.parametrize("size", ["320x240", "100x50", "223x500"])
def test_golden_transform_of_odd_sizes(size: str) -> None:
    arrays = np.load(GOLDEN / "pixels_frames.npz")

    shrunk = CLIP.apply(arrays[f"processor/{size}/input_hwc"])

    assert np.array_equal(shrunk.transpose(2, 0, 1), arrays[f"processor/{size}/out_uint8_chw"])


def test_golden_normalisation() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 256, 1).repeat(3, axis=-1)

    values = CLIP.normalize(levels)[0, :, 0]

    assert np.array_equal(values, np.array(PIXELS["normalise_table_float32_per_channel"], dtype=np.float32))


# Sampling


@given(st.integers(1, 5000), st.integers(1, 300))
def test_index_rule_laws(num_available: int, num_frames: int) -> None:
    indices = sample_indices(num_available, num_frames)

    assert len(indices) == num_frames
    assert np.all(np.diff(indices) >= 0)
    assert indices[0] == 0
    assert num_frames == 1 or indices[-1] == num_available - 1
    assert len(np.unique(indices)) == min(num_frames, num_available)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=200), st.integers(1, 120))
def test_time_rule_takes_the_nearest_frame(steps: list[int], num_frames: int) -> None:
    pts = np.cumsum([0, *steps]) / 1000.0

    indices = sample_timestamps(pts, num_frames)

    wanted = np.linspace(0, pts[-1], num_frames)
    nearest = np.abs(pts[None] - wanted[:, None]).min(axis=1)
    assert np.array_equal(np.abs(pts[indices] - wanted), nearest)
    assert np.all(np.diff(indices) >= 0)


@given(st.integers(2, 400), st.integers(1, 120), st.sampled_from([10.0, 24.0, 25.0, 30000 / 1001]))
def test_auto_goes_by_index_where_the_rate_is_constant(n: int, num_frames: int, fps: float) -> None:
    choice = choose_frames(np.arange(n + 1) / fps, num_frames, average_fps=fps)

    assert choice.sampling == "index"
    assert choice.indices.tolist() == sample_indices(n, num_frames).tolist()
    assert choice.duration == pytest.approx(n / fps)


def test_half_a_frame_is_the_bound_of_a_constant_rate() -> None:
    even = np.arange(100) / 25
    jitter = np.where(np.arange(100) % 7 == 3, 0.019, 0.0)

    assert has_constant_rate(even + jitter, 25.0)
    assert not has_constant_rate(even + 1.2 * jitter, 25.0)


def test_milliseconds_of_webm_are_a_constant_rate() -> None:
    info = probe(GOLDEN / "videos/f_life_342x256_24fps_15s.webm")

    assert not info.is_variable_rate
    assert info.average_fps == 24.0


def test_variable_rate_goes_by_time() -> None:
    frames = decode_frames(VARIABLE, 100, transform=CLIP)
    boundaries = frame_boundaries(VARIABLE)

    assert (frames.sampling, frames.info.is_variable_rate) == ("time", True)
    assert frames.duration == pytest.approx(19.8667, abs=1e-3)
    assert frames.duration == frames.info.duration == boundaries[-1]
    assert np.array_equal(frames.pts_seconds, boundaries[frames.frame_indices])
    wanted = np.linspace(0, boundaries[-2], 100)
    every = np.abs(boundaries[None, :-1] - wanted[:, None]).min(axis=1)
    assert np.allclose(np.abs(frames.pts_seconds - wanted), every)


@pytest.mark.parametrize("sampling", ["index", "time"])
def test_sampling_can_be_forced(sampling: str) -> None:
    assert decode_frames(SHORT, 5, sampling=sampling).sampling == sampling


def test_fewer_frames_than_asked_are_repeated() -> None:
    frames = decode_frames(SHORT, 100)

    assert len(np.unique(frames.frame_indices)) == 75
    for slot in np.flatnonzero(np.diff(frames.frame_indices) == 0):
        assert np.array_equal(frames.pixels[slot], frames.pixels[slot + 1])


# Parts


def test_part_of_a_video() -> None:
    whole = decode_frames(SHORT, 75)

    part = decode_frames(SHORT, 5, start=1.0, end=2.0)

    assert (part.start, part.duration) == (1.0, 1.0)
    assert part.frame_indices.tolist() == [25, 31, 37, 43, 49]
    assert part.pts_seconds.tolist() == pytest.approx([1.0, 1.24, 1.48, 1.72, 1.96])
    assert np.array_equal(part.pixels, whole.pixels[part.frame_indices])
    assert part.info == whole.info


def test_part_begins_with_the_frame_on_screen() -> None:
    part = decode_frames(SHORT, 2, start=1.03, end=1.05)

    assert part.frame_indices.tolist() == [25, 26]
    assert part.duration == pytest.approx(0.02)


def test_part_beyond_the_end_is_brought_back() -> None:
    part = decode_frames(SHORT, 2, start=2.0, end=9.0)

    assert part.duration == pytest.approx(1.0)
    assert part.notes == ("the part was to end at 9.00 s; the video ends at 3.00 s",)


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (3.0, None, "the part begins at 3.00 s, but the video ends at 3.00 s"),
        (2.0, 1.0, "a part needs start < end in seconds, got start=2.0 and end=1.0"),
        (-1.0, None, "a part needs 0 <= start < end in seconds, got start=-1.0 and end=None"),
        (float("nan"), 2.0, "a part needs 0 <= start < end in seconds, got start=nan and end=2.0"),
    ],
)
def test_parts_that_are_not(start: float, end: float | None, reason: str) -> None:
    with pytest.raises(VideoError) as caught:
        decode_frames(SHORT, 5, start=start, end=end)

    assert str(caught.value) == f"{SHORT}: {reason}"
    assert (caught.value.path, caught.value.reason) == (str(SHORT), reason)


# Folders and images


def test_folder_needs_a_rate() -> None:
    with pytest.raises(VideoError, match=r"needs fps= or duration=, got neither \(40 frames"):
        decode_frames(FOLDER)
    with pytest.raises(VideoError, match="got both"):
        decode_frames(FOLDER, fps=5, duration=8)
    with pytest.raises(VideoError, match="must be positive"):
        decode_frames(FOLDER, fps=-5)


def test_folder_by_duration() -> None:
    by_rate, by_duration = decode_frames(FOLDER, 7, fps=5), decode_frames(FOLDER, 7, duration=8.0)

    assert np.allclose(by_rate.pts_seconds, by_duration.pts_seconds)
    assert by_duration.info.average_fps == 5.0
    assert by_rate.backend == "pillow"


def test_folder_in_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 9, 10, 11):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / ".hidden.png").write_bytes(b"no frame")

    frames = decode_frames(tmp_path, 5, fps=1)

    assert frames.pixels[:, 0, 0, 0].tolist() == [1, 2, 9, 10, 11]


def test_times_of_a_video_file_are_its_own() -> None:
    with pytest.raises(VideoError, match="a video has its own times"):
        decode_frames(SHORT, fps=5)


def test_still_image(tmp_path: Path) -> None:
    path = tmp_path / "still.png"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)

    frames = decode_frames(path, 4)

    assert (frames.duration, frames.info.duration, frames.info.kind) == (None, None, "image")
    assert frames.pts_seconds.tolist() == [0.0] * 4
    assert np.array_equal(frames.pixels, pixels[None].repeat(4, axis=0))
    with pytest.raises(VideoError, match="a still image has no times"):
        decode_frames(path, start=1.0)


# Orientation


def test_rotation_is_applied() -> None:
    info = probe(TURNED)

    assert (info.rotation, info.width, info.height, info.is_mirrored) == (90, 272, 480, False)


@pytest.mark.parametrize(
    ("matrix", "orientation"),
    [
        ((1, 0, 0, 1), Orientation(0, False)),
        ((0, -1, 1, 0), Orientation(90, False)),
        ((-1, 0, 0, -1), Orientation(180, False)),
        ((0, 1, -1, 0), Orientation(270, False)),
        ((-1, 0, 0, 1), Orientation(0, True)),
        ((1, 0, 0, -1), Orientation(180, True)),
        ((0, 1, 1, 0), Orientation(90, True)),
        ((0, -1, -1, 0), Orientation(270, True)),
    ],
)
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_every_orientation(
    tmp_path: Path, matrix: tuple[int, ...], orientation: Orientation, backend: str
) -> None:
    """The matrix is written into the file; each corner of the picture goes where it says."""
    a, b, c, d = matrix
    path = tmp_path / "turned.mp4"
    corners = np.zeros((96, 128, 3), dtype=np.uint8)
    corners[:48, :64], corners[:48, 64:], corners[48:, :64] = 60, 120, 180
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corners, "rgb24")))
        container.mux(stream.encode())
    upright = decode_frames(path, 1).pixels[0].astype(int)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    numbers = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    content[place : place + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(content)

    frames = decode_frames(path, 1, backend=backend)
    shown = frames.pixels[0].astype(int)

    y, x = np.mgrid[0:96, 0:128]
    new_x, new_y = a * x + c * y, b * x + d * y
    expected = np.zeros_like(shown)
    expected[new_y - new_y.min(), new_x - new_x.min()] = upright
    assert np.array_equal(shown, expected)
    assert Orientation(frames.info.rotation, frames.info.is_mirrored) == orientation


# Backends


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv420p10le"},
        {"codec": "libx265", "x265-params": "log-level=none"},
        {"codec": "mpeg4", "bf": "2"},
        {"x264-params": "keyint=25:open-gop=1:bframes=3"},
        {"x264-params": "keyint=25:colorprim=bt709:colormatrix=bt709:transfer=bt709"},
    ],
    ids=["h264", "444", "10 bit", "hevc", "mpeg4", "open gop", "bt709"],
)
def test_backends_give_identical_frames(tmp_path: Path, options: dict[str, str]) -> None:
    path = write_video(tmp_path / "video.mp4", **options)

    by_pyav = decode_frames(path, 17, backend="pyav")
    by_decord = decode_frames(path, 17, backend="decord")

    assert np.array_equal(by_pyav.pixels, by_decord.pixels)
    assert by_pyav.frame_indices.tolist() == by_decord.frame_indices.tolist()
    assert by_pyav.pts_seconds.tolist() == by_decord.pts_seconds.tolist()
    assert (by_pyav.backend, by_decord.backend, decode_frames(path, 1).backend) == ("pyav", "decord", "pyav")


@pytest.mark.parametrize("num_frames", [1, 3, 10, 37, 60])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_jumping_finds_what_decoding_in_a_row_finds(tmp_path: Path, suffix: str, num_frames: int) -> None:
    path = write_video(
        tmp_path / f"video{suffix}", 60, **{"x264-params": "keyint=12:bframes=3:b-pyramid=normal"}
    )
    with av.open(path) as container:
        every = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])

    frames = decode_frames(path, num_frames)

    assert len(every) == 60
    assert np.array_equal(frames.pixels, every[frames.frame_indices])


def test_first_pts_is_not_zero(tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.mkv", 20, pts=[3000 + 40 * number for number in range(20)])

    frames = decode_frames(path, 20)

    assert frames.info.first_pts_seconds == pytest.approx(3.0)
    assert frames.pts_seconds.tolist() == pytest.approx([0.04 * number for number in range(20)])
    assert frames.duration == pytest.approx(0.8)


def test_frames_that_an_edit_list_cuts_away_are_not_there(tmp_path: Path) -> None:
    """Shorten the track by its edit list: the decoder shows fewer frames, and so do we."""
    path = write_video(tmp_path / "edited.mp4", 50)
    content = bytearray(path.read_bytes())
    place = content.index(b"elst") + 4 + 8
    timescale_place = content.index(b"mdhd") + 4 + 12
    timescale = int.from_bytes(content[timescale_place : timescale_place + 4], "big")
    media_time = int.from_bytes(content[place + 4 : place + 8], "big")
    content[place + 4 : place + 8] = (media_time + timescale).to_bytes(4, "big")
    content[place : place + 4] = (int.from_bytes(content[place : place + 4], "big") // 2).to_bytes(4, "big")
    path.write_bytes(content)
    with av.open(path) as container:
        shown = [frame.to_ndarray(format="rgb24")[0, 0, 0] for frame in container.decode(video=0)]

    frames = decode_frames(path, len(shown))

    assert frames.info.has_edit_list
    assert frames.info.num_frames == len(shown) < 50
    assert frames.pixels[:, 0, 0, 0].tolist() == shown
    assert frames.pts_seconds[0] == 0.0


def test_decord_is_named_where_it_is_missing(tmp_path: Path) -> None:
    script = f"""
        from litakit.video import VideoError, _client, decode_frames
        boot = _client.BOOT
        _client.BOOT = "import sys; sys.modules['decord'] = None; " + boot
        try:
            decode_frames({str(SHORT)!r}, 2, backend="decord")
        except VideoError as error:
            print(error)
        print(decode_frames({str(SHORT)!r}, 2).backend)
    """
    said, backend = run_python(script).splitlines()

    assert "decord is not usable here" in said
    assert 'use backend="pyav"' in said
    assert backend == "pyav"


def test_decord_alone_is_enough() -> None:
    script = f"""
        from litakit.video import _client, decode_frames
        hide = "import importlib.util as u; find = u.find_spec; "
        hide += "u.find_spec = lambda name, *rest: None if name == 'av' else find(name, *rest); "
        _client.BOOT = "import sys; sys.modules['av'] = None; " + hide + _client.BOOT
        frames = decode_frames({str(SHORT)!r}, 100)
        print(frames.backend, frames.frame_indices.tolist() == {sample_indices(75, 100).tolist()})
        print(round(frames.duration, 3))
    """

    assert run_python(script).split() == ["decord", "True", "3.0"]


# The worker


def run_python(script: str, **kwargs: object) -> str:
    """Run a script as a user would, without a main guard."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, cwd=GOLDEN.parents[1]
    )
    assert done.stderr == ""
    return done.stdout


def test_one_worker_for_all_calls() -> None:
    decode_frames(SHORT, 2)
    first = worker().pid
    with pytest.raises(VideoError):
        decode_frames(SHORT, 2, start=100.0)
    decode_frames(LONG, 2)

    assert worker().pid == first is not None


def test_worker_loads_no_torch() -> None:
    decode_frames(SHORT, 2, transform=CLIP)

    mapped = Path(f"/proc/{worker().pid}/maps").read_text()

    assert "libav" in mapped
    assert "torch" not in mapped


def test_a_decoder_that_never_returns_is_ended() -> None:
    decode_frames(SHORT, 2)
    stuck = worker().pid
    os.kill(stuck, signal.SIGSTOP)
    begin = time.monotonic()

    with pytest.raises(VideoError) as caught:
        decode_frames(SHORT, 2, deadline_seconds=0.5)

    assert time.monotonic() - begin < 5
    assert str(caught.value).startswith(f"{SHORT}: the decoder gave no sign of life for 0.5 s and was ended")
    assert decode_frames(SHORT, 2).pixels.shape == (2, 240, 320, 3)
    assert worker().pid != stuck


def test_a_worker_that_died_between_calls_is_replaced() -> None:
    decode_frames(SHORT, 2)
    os.kill(worker().pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while worker().pid is not None and time.monotonic() < deadline:
        time.sleep(0.01)

    assert decode_frames(SHORT, 2).pixels.shape == (2, 240, 320, 3)


def test_a_decoder_that_crashes_is_reported() -> None:
    decode_frames(SHORT, 2)
    pid = worker().pid
    os.kill(pid, signal.SIGSTOP)
    killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    killer.start()

    with pytest.raises(VideoError, match=r"the decoding process died \(SIGKILL\)"):
        decode_frames(SHORT, 2)

    killer.join()
    assert decode_frames(SHORT, 2).pixels.shape == (2, 240, 320, 3)


def test_worker_ends_with_its_parent() -> None:
    script = f"""
        import os
        from litakit.video import decode_frames
        from litakit.video._client import worker
        decode_frames({str(SHORT)!r}, 2)
        print(worker().pid, flush=True)
        os._exit(0)
    """
    pid = int(run_python(script))

    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_threads_share_the_worker() -> None:
    results: list[FrameBatch] = []
    threads = [threading.Thread(target=lambda: results.append(decode_frames(SHORT, 10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 4
    assert all(np.array_equal(result.pixels, results[0].pixels) for result in results)


def test_import_is_light() -> None:
    script = """
        import sys
        import litakit.video
        print({"torch", "pandas", "av", "decord", "transformers"} & set(sys.modules))
    """

    assert run_python(script).strip() == "set()"


# Small things


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"sampling": "random"}, "sampling must be one of auto, index, time, got 'random'"),
        ({"backend": "opencv"}, "backend must be one of auto, pyav, decord, got 'opencv'"),
        ({"deadline_seconds": 0}, "deadline_seconds must be positive and finite, got 0"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        decode_frames(SHORT, **arguments)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size must be at least 1 pixel, got 0"),
        ({"resample": "nearest"}, 'resample must be "bicubic" or "bilinear", got \'nearest\''),
        ({"aspect": "stretch"}, 'aspect must be "square" or "pad", got \'stretch\''),
    ],
)
def test_transforms_are_checked(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        FrameTransform(**{"size": 8, "mean": CLIP.mean, "std": CLIP.std, **arguments})

    assert str(caught.value) == message


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "no such file")))

    assert (str(error), error.path) == ("a.mp4: no such file", "a.mp4")


def test_facts_for_the_doctor() -> None:
    versions = decoder_versions()

    assert versions["pyav"] == av.__version__
    assert set(versions) == {"pyav", "decord", "pillow"}
    assert codec_support()["h264"] == {"reads": True, "writes": True}


def test_info_of_a_plain_video() -> None:
    info = probe(LONG)

    assert info == VideoInfo(
        path=str(LONG),
        kind="video",
        duration=60.0,
        num_frames=1500,
        average_fps=25.0,
        width=640,
        height=360,
        codec="h264",
        has_edit_list=True,
        container_duration=60.0,
    )
