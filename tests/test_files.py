"""Files are written whole or not at all."""

import stat

import pytest

from litakit.files import replacing, write_atomic


def test_bytes_and_text_are_written(tmp_path):
    assert write_atomic(tmp_path / "a.bin", b"\x00\xff") == tmp_path / "a.bin"
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    write_atomic(str(tmp_path / "b.txt"), "naïve\n")
    assert (tmp_path / "b.txt").read_bytes() == "naïve\n".encode()


def test_parent_folders_are_made_and_old_files_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    write_atomic(path, "old, and longer")
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.json"]


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def fail_halfway():
        with replacing(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail_halfway()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.json"):
        pass
    assert names(tmp_path) == []


def test_the_temporary_file_keeps_folder_and_suffix(tmp_path):
    with replacing(tmp_path / "clip.mp4") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mp4"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"x")
    assert (tmp_path / "clip.mp4").read_bytes() == b"x"


def test_others_may_read_what_the_umask_allows(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    write_atomic(tmp_path / "ours", "x")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_very_long_name_still_fits(tmp_path):
    path = tmp_path / ("n" * 240 + ".json")
    write_atomic(path, "x")
    assert path.read_text() == "x"
