"""Runs of a long video are decoded side by side: the same frames, and no thread outlives its reader."""

import threading

import numpy as np
import pytest

from litakit.video import _jumper, _pyav, _scan
from litakit.video._errors import PacketsMisledError
from tests.video_files import b_frames


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("lanes") / "keys.mp4"
    b_frames(made, num_frames=200)  # a key frame every 12
    return str(made)


def frames_of(path, table, wanted):
    return {
        index: converter.to_rgb(frame)
        for index, frame, converter in _pyav.decode_indices(path, table, wanted, lambda: None)
    }


def lanes():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")]


def test_lanes_give_what_one_decoder_gives(path, monkeypatch):
    table = _scan.scan(path, lambda: None)
    wanted = np.arange(0, 200, 7)
    assert len(_jumper.runs_of(table.packets, wanted)) > 10
    used = []
    in_lanes = _pyav._in_lanes
    monkeypatch.setattr(_pyav, "_in_lanes", lambda *a: used.append(1) or in_lanes(*a))
    side_by_side = frames_of(path, table, wanted)
    assert used
    monkeypatch.setattr(_pyav, "_in_lanes", in_lanes)
    from_the_start = frames_of(path, _scan.scan(path, lambda: None, decode=True), wanted)
    assert sorted(side_by_side) == sorted(from_the_start) == wanted.tolist()
    assert all(np.array_equal(side_by_side[index], from_the_start[index]) for index in side_by_side)


def test_lanes_end_with_their_reader(path):
    table = _scan.scan(path, lambda: None)
    before = lanes()
    frames = _pyav.decode_indices(path, table, np.arange(200), lambda: None)
    next(frames)
    assert len(lanes()) == len(before) + _pyav.NUM_LANES
    frames.close()
    assert lanes() == before


def test_what_one_lane_stumbles_over_is_told(path, monkeypatch):
    table = _scan.scan(path, lambda: None)
    before = lanes()
    run = _pyav.Jumper.run

    def stumble(self, wanted):
        if wanted[1][0] > 100:
            raise PacketsMisledError("a packet is not there")
        yield from run(self, wanted)

    monkeypatch.setattr(_pyav.Jumper, "run", stumble)
    with pytest.raises(PacketsMisledError, match="a packet is not there"):
        frames_of(path, table, np.arange(0, 200, 7))
    assert lanes() == before
