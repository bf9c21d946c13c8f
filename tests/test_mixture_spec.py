"""Mixture specs: the published mixture figure by figure, and what a wrong one is told."""

import re

import pytest
import yaml

from litakit.data._yaml import ManifestError
from litakit.data.manifests import SHIPPED, load_manifest, shipped_manifests
from litakit.data.mixture_spec import find_parts, load_mixture, mixture_of, shipped_mixtures


def test_the_published_mixture():
    spec, parts = load_mixture("lita")
    assert spec.epoch_size * spec.num_epochs == 500_000
    assert {share.task: share.weight for share in spec.tasks} == dict.fromkeys(
        ("dvc", "event_loc", "imgqa", "vidqa", "rtl"), 1
    )
    drawn = {(part.task, part.manifest.name): part.weight for part in parts}
    assert drawn == {
        ("dvc", "activitynet-captions"): 5,
        ("dvc", "youcook2"): 1,
        ("event_loc", "activitynet-captions"): 5,
        ("event_loc", "youcook2"): 1,
        ("imgqa", "llava-instruct-150k"): 1,
        ("vidqa", "nextqa"): 1,
        ("rtl", "activitynet-rtl"): 1,
    }
    assert all(part.split == "train" and part.parts for part in parts)


def test_every_mixture_that_comes_along_has_its_data_sets():
    names = {spec.name for spec in shipped_mixtures()}
    assert {"lita", "lita-rtl-only", "lita-rtl-video", "shape-world"} <= names
    for name in names:
        spec, parts = load_mixture(name)
        assert spec.name == name
        assert all(part.parts[0].use == "train" for part in parts)
    assert [part.task for part in load_mixture("lita-rtl-only")[1]] == ["rtl"]
    assert {part.task for part in load_mixture("lita-rtl-video")[1]} == {"dvc", "event_loc", "vidqa", "rtl"}


SPEC = {
    "name": "mine",
    "title": "Mine",
    "tasks": [{"task": "rtl", "sources": [{"dataset": "activitynet-rtl"}]}],
}


def write(path, **changes):
    path.write_text(yaml.safe_dump({**SPEC, **changes}, sort_keys=False))
    return path


def test_a_mixture_of_ones_own_finds_its_manifests_beside_it(tmp_path):
    manifest = load_manifest("shapes").model_dump(mode="json")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**manifest, "name": "own"}))
    tasks = [{"task": "dvc", "sources": [{"dataset": "own.yaml", "weight": 3}, {"dataset": "youcook2"}]}]
    path = write(tmp_path / "mix.yaml", tasks=tasks)
    assert load_mixture(path) == find_parts([path])
    assert [(part.manifest.name, part.weight) for part in load_mixture(path)[1]] == [
        ("own", 3.0),
        ("youcook2", 1.0),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": []}, "3: tasks: Tuple should have at least 1 item"),
        ({"epoch_size": 0}, "7: epoch_size: Input should be greater than 0, got 0"),
        (
            {"tasks": [{"task": "dvc", "sources": [{"dataset": "youcook2", "weight": -1}]}]},
            "7: tasks.0.sources.0.weight: Input should be greater than 0, got -1",
        ),
        (
            {"tasks": [{"task": "tal", "sources": [{"dataset": "x"}]}]},
            "4: tasks.0.task: Input should be",
        ),
        ({"tasks": SPEC["tasks"] * 2}, "3: tasks: each task stands once, with all its sources; got rtl, rtl"),
    ],
)
def test_a_wrong_mixture_is_told_where(tmp_path, changes, words):
    path = write(tmp_path / "mix.yaml", **changes)
    with pytest.raises(ManifestError, match=re.escape(f"{path}:{words}")):
        load_mixture(path)


def test_a_source_without_the_task_or_split_is_told_what_there_is(tmp_path):
    path = write(tmp_path / "a.yaml", tasks=[{"task": "rtl", "sources": [{"dataset": "youcook2"}]}])
    with pytest.raises(ManifestError, match="no part of the split 'train' for the task 'rtl'; it has"):
        load_mixture(path)
    with pytest.raises(ManifestError, match="no such mixture; give a YAML file, or one of lita, lita-rtl"):
        load_mixture("litta")
    with pytest.raises(ManifestError, match=r"split 'test': youcook2 has train \(dvc, event_loc\)"):
        mixture_of([load_manifest("youcook2")], "test")


def test_names_of_data_sets_make_a_mixture_of_all_their_tasks():
    spec, parts = find_parts(["activitynet-captions", "activitynet-rtl"])
    assert [(part.task, part.manifest.name) for part in parts] == [
        ("dvc", "activitynet-captions"),
        ("event_loc", "activitynet-captions"),
        ("rtl", "activitynet-rtl"),
    ]
    assert spec.name == "activitynet-captions"
    assert find_parts(["shape-world"])[0].epoch_size == 2000
    mixtures = {spec.name for spec in shipped_mixtures()}
    assert not mixtures & {manifest.name for manifest in shipped_manifests()}
    with pytest.raises(ManifestError, match="litta: no such data set or mixture; give a YAML"):
        find_parts(["litta"])
    assert {part.split for part in find_parts([SHIPPED / "shapes.yaml"], "val")[1]} == {"val"}
