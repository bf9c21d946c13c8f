"""Rows of CSV and JSON lines: what they hold, and what is said, by file and line, of what is wrong."""

import json
import re

import pytest

from litakit.rows import RowError, csv_rows, json_lines, read_json, resume_json_lines, text_lines

DEEP = "[" * 200_000
LONG = "1" * 5000


def write(tmp_path, content, name="file.x"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_rows_are_numbered_by_the_line_where_they_begin(tmp_path):
    path = write(tmp_path, '\ufeffvideo,caption\r\n"a\r\nb","He ""runs"", fast"\r\n\r\nc,\r\nd,e')
    assert list(csv_rows(path)) == [
        (2, {"video": "a\r\nb", "caption": 'He "runs", fast'}),
        (5, {"video": "c"}),
        (6, {"video": "d", "caption": "e"}),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ":1: expected the columns video, q or video, start; got an empty file"),
        ("file,start\n", ":1: expected the columns video, q or video, start; got file, start"),
        ("video;start\nx;1\n", ":1: expected the columns video, q or video, start; got video;start"),
        ("video,q,q\n", ":1: expected each column once, got 'q' 2 times"),
        ("video,q\nx\n", ":2: expected 2 values, as the header has, got 1; a text with commas needs quotes"),
        ("video,q\nx,1\nx,y,z\n", ":3: expected 2 values, as the header has, got 3"),
        ('video,q\nx,1\n\nx,"y\nz\n', ":4: not CSV: unexpected end of data"),
        ('video,q\nx,"y"z\n', ":2: not CSV: "),
        ("video,q\nx," + "y" * 200_000, ":2: not CSV: field larger than field limit"),
        (
            b"video,q\nx,1\nx,caf\xe9\n",
            ":3: expected UTF-8 text, got the byte 0xe9 in column 6; save the file",
        ),
        ("video,q\n".encode("utf-16"), ":1: expected UTF-8 text, got the byte 0xff in column 1"),
    ],
)
def test_what_is_wrong_in_a_csv_is_named_by_its_line(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(RowError, match=re.escape(f"{path}{words}")):
        list(csv_rows(path, [("video", "q"), ("video", "start")]))


def test_json_lines_end_at_line_feeds_only(tmp_path):
    path = write(tmp_path, '\ufeff{"a": "x\u2028\x85y"}\r\n\n \n{"b": [null]}')
    assert list(json_lines(path)) == [(1, {"a": "x\u2028\x85y"}), (4, {"b": [None]})]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a": 1}\n{"a"', ":2: not JSON: Expecting ':' delimiter (column 5)"),
        ('{"a": 1}\n{"a": 1\n', ":2: not JSON: Expecting ',' delimiter (column 8)"),
        ("{}\n\n[1]\n", ":3: expected a JSON object, got a list"),
        ("null\n", ":1: expected a JSON object, got nothing"),
        ('"' + "x" * 200 + '"', f":1: expected a JSON object, got '{'x' * 79}"),
        (b'{}\n{"a": "caf\xe9"}\n', ":2: expected UTF-8 text, got the byte 0xe9 in column 11"),
        (f"{{}}\n{DEEP}\n", ":2: not readable as JSON: it is nested too deeply"),
        (f"{{}}\n{{}}\n{LONG}\n", ":3: not readable as JSON: Exceeds the limit"),
    ],
    ids=range(8),
)
def test_what_is_wrong_in_json_lines_is_named_by_its_line(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(RowError, match=re.escape(f"{path}{words}")):
        list(json_lines(path))


def test_a_bad_byte_far_down_a_large_file_is_named_by_its_line(tmp_path):
    path = write(tmp_path, "é\n".encode() * 100_000 + b"\xff\n" + b"words\n" * 10)
    with pytest.raises(RowError, match=r":100001: expected UTF-8 text, got the byte 0xff in column 1"):
        list(text_lines(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{\n"a": 1,\n}', ":3: not JSON: "),
        ("", ":1: not JSON: "),
        ('["é",\n"caf\ufffd"]'.encode("latin-1", "ignore"), ":1: expected UTF-8 text, got the byte 0xe9"),
        (DEEP, ":1: not readable as JSON: it is nested too deeply"),
        (LONG, ":1: not readable as JSON: Exceeds the limit"),
    ],
    ids=range(5),
)
def test_what_is_wrong_in_a_json_file_is_named(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(RowError, match=re.escape(f"{path}{words}")):
        read_json(path)


def test_a_json_file_may_begin_with_a_byte_order_mark(tmp_path):
    assert read_json(write(tmp_path, '\ufeff{"a": "é"}')) == {"a": "é"}


# --- going on where a run ended ---


def test_what_is_kept_and_what_a_killed_run_left(tmp_path, caplog):
    whole = '{"id": "a"}\n\n{"id": "ù", "error": "x"}\n{"id": "ù"}\n'
    path = write(tmp_path, whole)
    seen = []

    def keep(number, record):
        seen.append(number)
        return "error" not in record

    assert resume_json_lines(path, keep) == ({"id": "a"}, {"id": "ù"})
    assert seen == [1, 3, 4]
    kept = '{"id": "a"}\n{"id": "ù"}\n'.encode()
    assert path.read_bytes() == kept
    assert caplog.text == ""
    for cut in range(len(b'{"id": "a"}\n') + 1, len(kept) - 1):  # in the middle of a character, too
        path.write_bytes(kept[:cut])
        assert resume_json_lines(path, lambda *_: True) == ({"id": "a"},)
        assert path.read_bytes() == b'{"id": "a"}\n'
    assert "file.x: the last line is unfinished and is taken out" in caplog.text
    path.write_bytes(kept[:-1])
    assert len(resume_json_lines(path, lambda *_: True)) == 2
    assert path.read_bytes() == kept


def test_a_file_that_needs_no_change_is_not_touched(tmp_path):
    path = write(tmp_path, '{"id": 1}\n')
    before = path.stat()
    assert resume_json_lines(path, lambda *_: True) == ({"id": 1},)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert resume_json_lines(tmp_path / "none", lambda *_: True) == ()
    assert resume_json_lines("/dev/zero", lambda *_: True) == ()  # it would be read for ever


@pytest.mark.parametrize(
    "content", ["words", "words\n", '{"a"\n', "[1]\n", '{"a": 1}\n{\n', b'\xff\n{"a": 1}\n']
)
def test_a_file_of_somebody_else_is_refused_and_kept(tmp_path, content):
    path = write(tmp_path, content)
    before = path.read_bytes()
    with pytest.raises(RowError, match=r"file\.x:\d: (not JSON|expected)"):
        resume_json_lines(path, lambda *_: True)
    assert path.read_bytes() == before


def test_what_keep_raises_leaves_the_file(tmp_path):
    path = write(tmp_path, '{"a": 1}\n{"a": 2}\n')

    def keep(number, record):
        if record["a"] == 2:
            raise LookupError(f"line {number}")
        return False

    with pytest.raises(LookupError, match="line 2"):
        resume_json_lines(path, keep)
    assert [json.loads(line)["a"] for line in path.read_text().splitlines()] == [1, 2]
