"""Bad input: one clear VideoError that names the file and the reason; never a hang, never another error."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from litakit.audit import audit
from litakit.video import FrameBatch, FrameTransform, VideoError, _client, decode_frames, probe
from tests.video_files import (
    B_FRAMES,
    CLOCK_SECONDS,
    ClockVideo,
    clock_error,
    constant_rate,
    cut_off,
    variable_rate,
    wrong_header_duration,
)

VIEW = FrameTransform(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> ClockVideo:
    return constant_rate(tmp_path_factory.mktemp("sound") / "sound.mp4", 25, 25)


def check_sound(made: ClockVideo) -> FrameBatch:
    """The worker does its work."""
    batch = decode_frames(made.path, 5, transform=VIEW)
    assert clock_error(batch, made) <= CLOCK_SECONDS
    return batch


def text(path: Path) -> None:
    path.write_text("This is no video.\n" * 200)


def random_bytes(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(20_000))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(20_000))


def html(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")


def only_a_header(path: Path) -> None:
    path.write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")


def folder_of_words(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no frame")
    (path / ".hidden.png").write_bytes(b"")


def folder_with_a_broken_frame(path: Path) -> None:
    path.mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (8, 8)).save(path / name)
    (path / "2.png").write_bytes((path / "2.png").read_bytes()[:40])


BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing.mp4", lambda path: None, "no such file or folder"),
    ("empty.mp4", Path.touch, "the file is empty (0 bytes)"),
    ("text.mp4", text, "not a readable video"),
    ("text.mkv", text, "not a readable video"),
    ("page.mp4", html, "not a readable video"),
    ("noise.mp4", random_bytes, "not "),
    ("zeros.mp4", zeros, "not "),
    ("header.mp4", only_a_header, "not a readable video"),
    ("folder", Path.mkdir, "a folder without frames"),
    ("folder.mp4", folder_of_words, "a folder without frames"),
    ("frames", folder_with_a_broken_frame, "2.png"),
    ("text.png", text, "not a readable image"),
    ("text.jpg", text, "not a readable image"),
    ("link.mp4", lambda path: path.symlink_to("nowhere.mp4"), "no such file or folder"),
    ("loop.mp4", lambda path: path.symlink_to("loop.mp4"), "symbolic links"),
    ("pipe.mp4", os.mkfifo, "neither a regular file nor a folder"),
    ("inside.mp4/video.mp4", lambda path: path.parent.touch(), "Not a directory"),
    ("x" * 300 + ".mp4", lambda path: None, "File name too long"),
]


@pytest.mark.parametrize(("name", "make", "reason"), BAD, ids=[name[:20] for name, *_ in BAD])
def test_bad_source(tmp_path: Path, name: str, make: Callable[[Path], object], reason: str) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(VideoError) as raised:
        decode_frames(path, 4, fps=5 if name in ("folder", "folder.mp4", "frames") else None)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert "\n" not in message
    assert len(raised.value.reason) < 250


@pytest.mark.parametrize("ask", [probe, audit], ids=["probe", "audit"])
@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4", "text.mp4", "header.mp4"])
def test_the_other_doors_say_the_same(tmp_path: Path, ask: Callable[[Path], object], name: str) -> None:
    _, make, reason = next(case for case in BAD if case[0] == name)
    make(tmp_path / name)
    with pytest.raises(VideoError, match=f"{name}: .*{reason.split('(')[0]}"):
        ask(tmp_path / name)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "secret"
    path.mkdir() if kind == "folder" else path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read everything: let the system's answer be another's
        monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(VideoError, match=rf"secret: the {kind} cannot be read: permission denied"):
        decode_frames(path, 4)
    path.chmod(0o700)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/video.mp4",
        "http://example.org/video.mp4",
        "rtsp://camera/stream",
        "s3://bucket/video.mp4",
        "file:///tmp/video.mp4",
        "HTTPS://EXAMPLE.ORG/VIDEO.MP4",
        Path("https://example.org/video.mp4"),
    ],
)
def test_url_is_refused(url: str | Path) -> None:
    with pytest.raises(VideoError, match="download the video first"):
        decode_frames(url, 4)


@pytest.mark.parametrize("name", ["", "a\0b.mp4"])
def test_what_is_no_path(name: str) -> None:
    with pytest.raises(VideoError, match="not a path"):
        decode_frames(name, 4)


def test_a_relative_path_is_meant_from_where_the_caller_stands(
    tmp_path: Path, sound: ClockVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker was started elsewhere; a file of the same name there is another one."""
    other = constant_rate(tmp_path / "clip.mp4", 25, 5)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "clip.mp4").write_bytes(sound.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert decode_frames("clip.mp4", 2).info.num_frames == len(other.shown)
    monkeypatch.chdir(inside)
    info = decode_frames("clip.mp4", 2).info
    assert (info.num_frames, info.path) == (25, "clip.mp4")
    with pytest.raises(VideoError, match=r"^clip\.mp4: the part begins"):
        decode_frames("clip.mp4", 2, start=9.0)


@pytest.mark.parametrize("name", ["2024-01-01T10:00:00.mp4", "pipe:0.mp4", "100%03d.mp4", "naïve ☃ .mp4"])
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_names_that_look_like_something_else(
    tmp_path: Path, sound: ClockVideo, monkeypatch: pytest.MonkeyPatch, name: str, backend: str
) -> None:
    (tmp_path / name).write_bytes(sound.path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert decode_frames(name, 2, backend=backend).info.num_frames == 25
    assert decode_frames(os.fsencode(name), 2).info.path == name
    assert audit(name, 5).ok


def test_a_bad_file_does_not_harm_the_worker(tmp_path: Path, sound: ClockVideo) -> None:
    check_sound(sound)
    pid = _client.worker().pid
    for name in ("text.mp4", "noise.mp4", "zeros.mp4", "text.png"):
        next(make for case, make, _ in BAD if case == name)(tmp_path / name)
        with pytest.raises(VideoError):
            decode_frames(tmp_path / name, 4)
    check_sound(sound)
    assert _client.worker().pid == pid


HANGING = textwrap.dedent("""
    import sys; sys.path.insert(0, sys.argv[1])
    from litakit.video import _job, _worker
    whole = _job.run
    def run(request, outlet):
        if "hang" in request.source:
            outlet.ping()
            {hang}
        return whole(request, outlet)
    _job.run = run
    _worker.main()
""")
# The second never lets go of the interpreter's lock, as a decoder in C may.
HANGS = {
    "spinning": "while True: pass",
    "inside_the_lock": "import re; re.match('(a*)*b', 'a' * 60)",
    "sleeping": "import time; time.sleep(1000)",
}


@pytest.fixture
def own_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker that is started for this test and ended with it."""
    _client.worker().close()
    yield
    monkeypatch.undo()
    _client.worker().close()


@pytest.mark.parametrize("hang", HANGS)
@pytest.mark.usefixtures("own_worker")
def test_a_decoder_that_never_returns(
    tmp_path: Path, sound: ClockVideo, monkeypatch: pytest.MonkeyPatch, hang: str
) -> None:
    monkeypatch.setattr(_client, "BOOT", HANGING.format(hang=HANGS[hang]))
    stuck = tmp_path / "hang.mp4"
    stuck.write_bytes(sound.path.read_bytes())
    check_sound(sound)
    before = _client.worker().pid
    began = time.monotonic()
    with pytest.raises(VideoError, match=r"hang\.mp4: the decoder gave no sign of life for 0\.5 s"):
        decode_frames(stuck, 4, deadline_seconds=0.5)
    assert time.monotonic() - began < 20
    assert before is not None
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    check_sound(sound)
    assert _client.worker().pid != before


@pytest.mark.usefixtures("own_worker")
def test_a_worker_killed_at_work_is_reported_and_replaced(
    tmp_path: Path, sound: ClockVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_client, "BOOT", HANGING.format(hang=HANGS["sleeping"]))
    stuck = tmp_path / "hang.mp4"
    stuck.write_bytes(sound.path.read_bytes())
    check_sound(sound)
    pid = _client.worker().pid
    assert pid is not None
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(VideoError, match=r"hang\.mp4: the decoding process died \(SIGKILL"):
        decode_frames(stuck, 4, deadline_seconds=30)
    killer.join()
    check_sound(sound)


@pytest.mark.usefixtures("own_worker")
def test_a_worker_that_cannot_start_is_reported(sound: ClockVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "BOOT", "raise SystemExit('no room')")
    with pytest.raises(VideoError, match=r"sound\.mp4: the decoding process died \(exit code 1: no room\)"):
        decode_frames(sound.path, 4)
    monkeypatch.undo()
    check_sound(sound)


def test_a_script_that_decodes_ends_by_itself(sound: ClockVideo) -> None:
    """Without a guard for `__main__`, without closing anything."""
    script = (
        f"from litakit.video import decode_frames\nprint(len(decode_frames({str(sound.path)!r}, 4).pixels))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("4\n", "", 0)


@pytest.mark.parametrize(
    ("start", "end"), [(2.0, 1.0), (1.0, 1.0), (5.0, None), (-1.0, None), (float("nan"), None), (None, 0.0)]
)
def test_parts_that_are_not_there(sound: ClockVideo, start: float | None, end: float | None) -> None:
    with pytest.raises(VideoError, match=r"sound\.mp4: (a part needs|the part begins)"):
        decode_frames(sound.path, 4, start=start, end=end)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("intact")
    size = (96, 96)
    constant_rate(folder / "a.mp4", 25, 40, size=size, options=B_FRAMES)
    variable_rate(folder / "b.mkv", 40, size=size, codec="libx265")
    constant_rate(folder / "c.webm", 25, 40, size=size, codec="libvpx-vp9")
    constant_rate(folder / "d.avi", 25, 40, size=size, codec="mpeg4")
    constant_rate(folder / "e.ts", 25, 40, size=size, options=B_FRAMES)
    constant_rate(folder / "f.gif", 25, 40, size=size, codec="gif", pix_fmt="rgb8")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def frames_or_error(path: Path) -> FrameBatch | VideoError:
    try:
        return decode_frames(path, 10, transform=VIEW, deadline_seconds=20)
    except VideoError as error:
        return error


def damage(data: bytes, seed: int) -> bytes:
    """Flip bytes anywhere, or in the first part, where the headers are; or cut, or both."""
    random = np.random.default_rng(seed)
    broken = bytearray(data)
    reach = len(broken) if seed % 3 else min(1200, len(broken))
    for at in random.integers(0, reach, size=int(random.integers(1, 30))):
        broken[at] = int(random.integers(256))
    if seed % 4 == 3:
        del broken[int(random.integers(1, len(broken))) :]
    return bytes(broken)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["a.mp4", "b.mkv", "c.webm", "d.avi", "e.ts", "f.gif"])
def test_damaged_bytes_give_frames_or_a_video_error(
    tmp_path: Path, intact: dict[str, bytes], name: str, seed: int
) -> None:
    path = tmp_path / name
    path.write_bytes(damage(intact[name], seed))
    batch = frames_or_error(path)
    if isinstance(batch, VideoError):
        assert str(batch).startswith(f"{path}: ")
        assert "the decoder failed" not in batch.reason  # an error that nobody thought of
        assert "no sign of life" not in batch.reason
        assert "process died" not in batch.reason
        return
    assert batch.pixels.shape == (10, 64, 64, 3)
    assert np.all(np.diff(batch.pts_seconds) >= 0)
    assert batch.pts_seconds[0] >= 0
    assert batch.duration is not None
    assert np.isfinite(batch.duration)
    assert batch.duration > 0
    assert batch.pts_seconds[-1] <= batch.duration


def test_a_wrong_header_and_a_cut_do_not_add_up(tmp_path: Path) -> None:
    made = wrong_header_duration(tmp_path / "both.mkv", factor=0.1)
    cut_off(made.path, 0.7)
    batch = decode_frames(made.path, 10, transform=VIEW)
    assert batch.duration is not None
    assert 1.0 < batch.duration < 2.0
