"""Mixture: draws that are pure functions of their number, weights that hold, files that are indexed once."""

import json
import logging
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litakit.data.mixture import Mixture
from litakit.data.mixture_spec import MixtureSpec, load_mixture
from litakit.data.paraphrases import NUM_PARAPHRASES
from litakit.data.prepare import prepare
from litakit.data.synthetic import write_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_dataset(root / "shapes" / "train", range(31, 39), videos=False)
    prepare(*load_mixture("shape-world"), root, root / "out")
    return root / "out"


@pytest.fixture(scope="module")
def mixture(folder):
    return Mixture(folder)


@given(index=st.integers(0, 1999), seed=st.integers(-(2**63), 2**63 - 1), epoch=st.integers(0, 2**40))
def test_a_draw_depends_on_seed_epoch_and_number_alone(folder, mixture, index, seed, epoch):
    drawn = Mixture(folder, seed=seed, epoch=epoch)[index]
    other = Mixture(folder, seed=seed).at(epoch)
    assert [other[i] for i in (1999, index, 0)][1] == drawn
    assert pickle.loads(pickle.dumps(other))[index] == drawn
    assert other[index - 2000] == drawn
    assert mixture.epoch == 0


def test_these_draws_stay_for_ever(mixture):
    """Written down once: a change here breaks every run that is to be resumed."""
    ids = [(mixture[i].task, mixture[i].id, mixture.draw(i).way % NUM_PARAPHRASES) for i in (0, 1, 1999)]
    assert ids == EXPECTED_DRAWS


EXPECTED_DRAWS = [
    ("dvc", "v_shape000036", 0),
    ("vidqa", "v_shape000038.mp4", 0),
    ("vidqa", "v_shape000034.mp4", 5),
]


def test_seeds_and_epochs_differ(folder, mixture):
    first = [mixture.draw(i) for i in range(50)]
    assert first != [Mixture(folder, seed=1).draw(i) for i in range(50)]
    assert first != [mixture.at(1).draw(i) for i in range(50)]
    assert {mixture.draw(i).way % NUM_PARAPHRASES for i in range(200)} == set(range(NUM_PARAPHRASES))


def test_numbers_outside_the_epoch(mixture):
    assert len(mixture) == 2000
    for index in (2000, -2001):
        with pytest.raises(IndexError, match=f"sample {index} of an epoch of 2000"):
            mixture[index]
    assert sum(1 for _ in mixture) == 2000
    assert mixture[5:9:2] == [mixture[5], mixture[7]]


def write_samples(folder, name, videos):
    """A prepared file: samples of event localization, so many events for each video."""
    lines = []
    for video, count in videos.items():
        for number in range(count):
            lines.append(
                {
                    "schema_version": 1,
                    "id": f"{video}#{number}",
                    "video": video,
                    "duration": 9.0,
                    "task": "event_loc",
                    "messages": [
                        {"role": "user", "content": "When?", "video": True},
                        {"role": "assistant", "content": "<1> <2>"},
                    ],
                    "spans": [[1, 2]],
                    "source": name,
                    "split": "train",
                    "path": f"{video}.mp4",
                    "fps": None,
                    "subjects": ["it happens"],
                    "style": "free",
                }
            )
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def num_lines(path):
    return len(path.read_text().splitlines()) if path.exists() else 1


def write_mixture(folder, sources, epoch_size=30_000):
    record = {
        "schema_version": 1,
        "name": "mine",
        "title": "Mine",
        "epoch_size": epoch_size,
        "num_epochs": 1,
        "sources": [
            {"task": task, "dataset": name, "split": "train", "task_weight": task_weight, "weight": weight}
            | {"file": f"{name}.jsonl", "num_samples": num_lines(folder / f"{name}.jsonl")}
            for task, name, task_weight, weight in sources
        ],
    }
    (folder / "mixture.json").write_text(json.dumps(record))


def test_weights_hold_and_an_event_is_drawn_by_way_of_its_video(tmp_path):
    write_samples(tmp_path, "a", {"a0": 1, "a1": 9})
    write_samples(tmp_path, "b", {"b0": 2})
    write_samples(tmp_path, "c", {"c0": 1, "c1": 9})
    write_mixture(tmp_path, [("event_loc", "a", 3, 5), ("event_loc", "b", 3, 1), ("rtl", "c", 1, 1)])
    mixture = Mixture(tmp_path)
    drawn = Counter(sample.source for sample in mixture)
    for name, share in {"a": 0.75 * 5 / 6, "b": 0.75 / 6, "c": 0.25}.items():
        # five standard deviations of a binomial draw of 30,000
        assert abs(drawn[name] / 30_000 - share) < 5 * (share * (1 - share) / 30_000) ** 0.5
    table = mixture.describe()
    assert [row.drawn for row in table.rows] == [drawn["a"], drawn["b"], drawn["c"]]
    assert [row.share for row in table.rows] == pytest.approx([0.625, 0.125, 0.25])
    assert [row.different for row in table.rows] == [10, 2, 10]
    events = Counter(sample.video for sample in mixture)
    # a video and then one of its events; where samples are drawn, nine samples are drawn nine times as often
    assert 0.9 < events["a0"] / events["a1"] < 1.1
    assert 0.09 < events["c0"] / events["c1"] < 0.14
    assert "62.5%" in str(table)
    assert "<td>62.5%</td>" in table._repr_html_()


def test_events_of_one_video_belong_together_wherever_they_stand(tmp_path):
    write_samples(tmp_path, "a", {"a0": 2, "a1": 8})
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    (tmp_path / "a.jsonl").write_text("\n".join([*lines[1::2], *lines[::2]]) + "\n")
    write_mixture(tmp_path, [("event_loc", "a", 1, 1)], epoch_size=20_000)
    events = Counter(sample.id for sample in Mixture(tmp_path))
    assert sorted(events) == sorted(json.loads(line)["id"] for line in lines)
    for name, count in events.items():
        share = 1 / 4 if name.startswith("a0") else 1 / 16
        assert abs(count / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5


def test_the_index_is_kept_and_made_anew_when_the_file_changes(tmp_path, caplog, monkeypatch):
    write_samples(tmp_path, "a", {"a0": 1})
    write_mixture(tmp_path, [("event_loc", "a", 1, 1)])
    assert Mixture(tmp_path)[0].video == "a0"
    kept = tmp_path / "a.jsonl.index.npz"
    before = kept.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("litakit.data._sample_index._make", None)  # opening again reads no line
        Mixture(tmp_path)
    write_samples(tmp_path, "a", {"a1": 3})
    with pytest.raises(ValueError, match=r"holds 3 samples, mixture.json says 1: prepare"):
        Mixture(tmp_path)
    write_mixture(tmp_path, [("event_loc", "a", 1, 1)])
    assert Mixture(tmp_path)[0].video == "a1"
    assert kept.stat().st_mtime_ns > before
    for broken in (b"broken", kept.read_bytes()[:200], b""):
        kept.write_bytes(broken)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert Mixture(tmp_path)[0].video == "a1"
        assert "made anew" in caplog.text


def test_an_index_that_cannot_be_kept_is_said(tmp_path, caplog, monkeypatch):
    write_samples(tmp_path, "a", {"a0": 1})
    write_mixture(tmp_path, [("event_loc", "a", 1, 1)])

    def refuse(path, content):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("litakit.data._sample_index.write_atomic", refuse)
    assert Mixture(tmp_path)[0].video == "a0"
    assert "cannot be kept" in caplog.text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "a.jsonl:3: not a line of JSON"),
        (
            '{"id": "x"}',
            "a.jsonl:3: not a sample: it lacks messages, schema_version, style",
        ),
        ("", "a.jsonl:3: not a line of JSON"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path, line, words):
    write_samples(tmp_path, "a", {"a0": 5})
    write_mixture(tmp_path, [("event_loc", "a", 1, 1)])
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    lines[2] = line
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=words):
        Mixture(tmp_path)


def test_what_is_no_mixture(tmp_path):
    with pytest.raises(ValueError, match="holds no prepared mixture"):
        Mixture(tmp_path)
    write_mixture(tmp_path, [("event_loc", "a", 1, 1)])
    with pytest.raises(ValueError, match=r"a.jsonl: samples that the mixture names cannot be read"):
        Mixture(tmp_path)
    write_samples(tmp_path, "a", {})
    write_mixture(tmp_path, [("event_loc", "a", 1, 1)])
    with pytest.raises(ValueError, match="holds no samples, and a mixture draws from every source"):
        Mixture(tmp_path)
    write_samples(tmp_path, "a", {"a0": 1})
    write_mixture(tmp_path, [("event_loc", "a", 1, 1)])
    with pytest.raises(ValueError, match="expected a seed of 64 bits"):
        Mixture(tmp_path, seed=2**63)
    with pytest.raises(ValueError, match="expected an epoch from 0 and a size from 1, got -1 and 30000"):
        Mixture(tmp_path, epoch=-1)
    (tmp_path / "mixture.json").write_text('{"schema_version": 7}')
    with pytest.raises(ValueError, match="is of schema 7, expected 1"):
        Mixture(tmp_path)
    (tmp_path / "mixture.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        Mixture(tmp_path)


def test_the_mixture_goes_by_its_yaml(mixture):
    assert MixtureSpec(name="a", title="b", tasks=load_mixture("lita")[0].tasks).epoch_size == 50_000
    assert (mixture.name, mixture.num_epochs, mixture.epoch_size) == ("shape-world", 1, 2000)
