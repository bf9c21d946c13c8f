"""Plans: hours against the published ones, lengths counted or assumed, and how they are printed."""

import json

import pytest
from transformers import (
    LlamaConfig,
)
from typer.testing import CliRunner

from litakit.assets import bundled_model
from litakit.cli import app
from litakit.data.mixture import Mixture
from litakit.data.mixture_spec import load_mixture
from litakit.data.prepare import prepare
from litakit.data.synthetic import write_dataset
from litakit.training.blueprint import blueprint_of
from litakit.training.config import load_config
from litakit.training.lengths import lengths_of
from litakit.training.memory import GIB
from litakit.training.plan import PIXEL_SECONDS, UTILISATION, plan
from litakit.training.work import GPUS
from tests._training_configs import parts_without_weights, small_config

PUBLISHED_HOURS = {"13b": 13.0, "7b": 9.0}


@pytest.fixture
def parts(tmp_path):
    return parts_without_weights(tmp_path)


@pytest.mark.parametrize("size", ["13b", "7b"])
def test_hours_are_the_published_ones_within_thirty_percent(size):
    found = plan(load_config(f"lita-{size}"), gpu="a100-80gb", num_gpus=8, inputs="pixels")
    assert found.samples == 500_000
    assert found.utilisation == UTILISATION <= 0.4
    assert found.hours == pytest.approx(PUBLISHED_HOURS[size], rel=0.3)
    # Not by the fitted constant alone: arithmetic explains most of it.
    assert found.hours_llm + found.hours_vision == pytest.approx(PUBLISHED_HOURS[size], rel=0.3)


@pytest.mark.parametrize("size", ["13b", "7b"])
def test_the_docstring_says_what_the_plan_says(size):
    from litakit.training import plan as module

    found = plan(load_config(f"lita-{size}"), inputs="pixels")
    words = " ".join(module.__doc__.split())
    both = [plan(load_config(f"lita-{other}"), inputs="pixels") for other in ("13b", "7b")]
    assert "plan says {:.1f} h and {:.1f} h".format(*[each.hours for each in both]) in words
    bare = [each.hours_llm + each.hours_vision for each in both]
    assert "would say {:.1f} h and {:.1f} h".format(*bare) in words
    rest = [PUBLISHED_HOURS[other] - hours for other, hours in zip(PUBLISHED_HOURS, bare, strict=True)]
    assert "leaves {:.1f} h and {:.1f} h unexplained".format(*rest) in words
    assert f"is {found.hours_vision:.1f} h of it" in words


def test_hours_are_made_of_their_terms():
    config = load_config("lita-7b")
    pixels, features = plan(config, inputs="pixels"), plan(config, inputs="features")
    assert pixels.hours == pixels.hours_llm + pixels.hours_vision + pixels.hours_pixels
    assert features.hours == features.hours_llm == pixels.hours_from_features
    assert pixels.hours == features.hours_from_pixels
    assert pixels.hours_pixels == pytest.approx(500_000 * PIXEL_SECONDS / 8 / 3600)
    speed = 312e12 * UTILISATION * 8 * 3600
    assert pixels.hours_vision + pixels.hours_llm == pytest.approx(pixels.eflop * 1e18 / speed)
    step = (pixels.pflop_per_step["llm"] + pixels.pflop_per_step["vision"]) * 1e15
    assert step * 500_000 / 128 == pytest.approx(pixels.eflop * 1e18)
    assert plan(config).inputs == "features"


def test_both_sizes_have_the_same_vision_and_no_constant_of_their_own():
    large, small = (plan(load_config(f"lita-{size}"), inputs="pixels") for size in ("13b", "7b"))
    assert large.hours_vision == small.hours_vision
    assert large.hours_pixels == small.hours_pixels
    assert 1.9 < large.hours_llm / small.hours_llm < 2.0


def test_a_name_does_not_matter_where_the_shapes_are_the_same(tmp_path):
    known = load_config("lita-7b")
    shape = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
    LlamaConfig(num_attention_heads=32, **shape).save_pretrained(tmp_path / "mine")
    mine, public = plan(known.replace(llm=str(tmp_path / "mine"))), plan(known)
    assert json.loads(mine.to_json()) == {**json.loads(public.to_json()), "model": str(tmp_path / "mine")}


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("inputs", ["features", "pixels"])
def test_more_gpus_take_fewer_hours_and_less_memory(gpu, inputs):
    config = load_config("lita-7b")
    plans = [plan(config, gpu=gpu, num_gpus=count, inputs=inputs) for count in (1, 2, 4, 8, 64)]
    assert [each.hours for each in plans] == sorted({each.hours for each in plans}, reverse=True)
    memory = [each.gib_per_gpu for each in plans]
    assert memory == sorted(memory, reverse=True)


def test_precision_decides_how_fast_a_gpu_is():
    hours = {
        (precision, tf32): plan(small_config(precision=precision, tf32=tf32)).hours
        for precision in ("fp32", "bf16", "fp16")
        for tf32 in (False, True)
    }
    assert hours["bf16", False] == hours["bf16", True] == hours["fp16", False]
    assert hours["fp32", True] == pytest.approx(2 * hours["bf16", False])
    assert hours["fp32", False] == pytest.approx(16 * hours["bf16", False])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_dataset(root / "shapes" / "train", range(31, 35), videos=False)
    prepare(*load_mixture("shape-world"), root, root / "prepared")
    return root / "prepared"


def test_a_prepared_mixture_is_counted(prepared):
    config = small_config(mixture=prepared, steps=None, epochs=2)
    blueprint = blueprint_of(config)
    found = lengths_of(config, blueprint.config, bundled_model())
    assert "1,000 samples of" in found.source
    assert found.source.endswith("the model's tokenizer")
    assert found.mixture_size == 2000
    assert 356 * found.video_share < 64 + 100 + found.mean < found.longest + 164 < 2048
    paths = {Mixture(prepared)[index].path for index in range(2000)}
    assert found.num_videos == len(paths - {None})
    paper = plan(config, num_gpus=1)
    assert (paper.samples, paper.steps) == (4000, 2000)
    assert paper.features_gib == pytest.approx(found.num_videos * 164 * 160 * 2 / GIB)


def test_without_a_tokenizer_tokens_are_estimated(prepared, parts):
    config = small_config(mixture=prepared, **parts)
    paper = plan(config)
    assert paper.tokens_source.endswith("4 characters a token")
    visual = blueprint_of(config).config.num_visual_tokens
    assert visual + 45 < paper.tokens_per_sample < visual + 300
    assert plan(config.replace(max_length=150)).longest_tokens == 150


def test_an_assumed_mixture_says_so():
    paper = plan(load_config("lita-13b"))
    assert paper.tokens_source == "assumed: the published mixture, since prepared holds none"
    assert paper.tokens_per_sample == 356 + 45 + (115 + 50 + 260 + 350 + 80) / 5
    assert paper.num_videos == 10_009 + 1_333 + 3_870 + 157_712
    assert paper.features_gib == pytest.approx(172_924 * 356 * 1024 * 2 / GIB)


def test_it_prints_as_a_table_and_as_json():
    paper = plan(load_config("lita-13b"), inputs="pixels")
    words = str(paper)
    assert words.splitlines()[0] == "lmsys/vicuna-13b-v1.3, on paper"
    assert "8 x a100-80gb, from pixels, ZeRO-3" in words
    assert "13.0 B language model" in words
    assert f"{paper.hours:.2f} at 40% of the peak" in words
    assert "DOES NOT FIT" not in words
    assert "DOES NOT FIT" in str(plan(load_config("lita-13b"), gpu="a100-40gb"))
    page = paper._repr_html_()
    assert all(value.replace("'", "&#x27;") in page for _, value in paper.cells())
    record = json.loads(paper.to_json())
    assert record["schema_version"] == 1
    assert record["hours"] == paper.hours
    assert {"hours", "gib_per_gpu", "features_gib", "hours_from_features", "parameters"} < set(record)
    assert record["memory"]["zero_3"]["total"] == record["gib_per_gpu"]
    assert record["fits"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"gpu": "a100"}, "gpu: expected one of a100-40gb, a100-80gb, h100-80gb, .* got 'a100'"),
        ({"num_gpus": 0}, "num_gpus must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_told(arguments, words):
    with pytest.raises(ValueError, match=words):
        plan(small_config(), **arguments)


def run(*arguments):
    return CliRunner().invoke(app, ["plan", *arguments])


def test_the_command_prints_a_table_or_json():
    shown = run("lita-13b", "--inputs", "pixels")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout == f"{plan(load_config('lita-13b'), inputs='pixels')}\n"
    record = json.loads(run("lita-7b", "--gpu", "h100-80gb", "--gpus", "4", "--json").stdout)
    wanted = plan(load_config("lita-7b"), gpu="h100-80gb", num_gpus=4)
    assert record == json.loads(wanted.to_json())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["lita-30b"],
            "lita-30b: no such training config; give a YAML file, or one of lita-13b, lita-7b, tiny",
        ),
        (["tiny", "--gpu", "tpu"], "gpu: expected one of a100-40gb, a100-80gb, h100-80gb, "),
    ],
)
def test_the_command_says_what_is_wrong_in_a_line(arguments, words):
    shown = run(*arguments)
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert shown.stderr.startswith(f"litakit: {words}")
    assert shown.stderr.count("\n") == 1


def test_the_command_names_file_line_and_field(tmp_path):
    (tmp_path / "mine.yaml").write_text("lita: tiny\nmixture: prepared\nsteps: 0\n")
    shown = run(str(tmp_path / "mine.yaml"))
    assert shown.exit_code == 2
    assert f"{tmp_path}/mine.yaml:3: steps: Input should be greater than 0, got 0" in shown.stderr
