"""TrainConfig: the published recipe figure by figure, YAML in and out, and what a wrong one is told."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from litakit.data._yaml import ManifestError
from litakit.training.config import ONLY_WITH, PRESETS, TrainConfig, load_config

GIVEN = {"lita": "tiny", "mixture": "prepared", "features": "features", "steps": 10}
PARTS = {"llm": "vicuna", "vision": "clip", "mixture": "prepared", "features": "features", "steps": 10}


def write(path, **fields):
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return path


@pytest.mark.parametrize("size", ["13b", "7b"])
def test_the_published_recipe(size):
    config = load_config(f"lita-{size}")
    assert (config.llm, config.vision) == (f"lmsys/vicuna-{size}-v1.3", "openai/clip-vit-large-patch14")
    assert config.projector == f"liuhaotian/llava-pretrain-vicuna-{size}-v1.3"
    assert config.chat_template == "v1"
    assert config.count_samples(num_processes=8) == 500_000
    assert config.samples_per_step(num_processes=8) == 128
    assert config.count_steps(num_processes=8) == 3907
    assert (config.learning_rate, config.schedule, config.warmup_ratio) == (2e-5, "cosine", 0.03)
    assert (config.betas, config.eps, config.weight_decay) == ((0.9, 0.999), 1e-8, 0.0)
    assert (config.precision, config.tf32, config.zero, config.gradient_checkpointing) == (
        "bf16",
        True,
        3,
        True,
    )
    assert (config.train, config.freeze_llm, config.freeze_projector) == ("all", False, False)
    assert (config.max_length, config.too_long, config.time_loss) == (2048, "cut", "cross_entropy")


@pytest.mark.parametrize("size", ["13b", "7b"])
def test_where_the_published_one_is_at_fault_ours_differs_and_says_so(size):
    config = load_config(f"lita-{size}")
    assert config.save_every_steps * 4 < config.count_steps(num_processes=8)
    assert config.max_grad_norm == 1.0
    words = (PRESETS / f"lita-{size}.yaml").read_text()
    for field in ("save_every_steps", "max_grad_norm", "on_error", "seed", "inputs"):
        assert re.search(rf"^# Published: [^\n]*\n(#[^\n]*\n)?{field}:", words, re.MULTILINE), field


def test_the_sizes_differ_in_their_weights_alone():
    large, small = (load_config(f"lita-{size}").model_dump() for size in ("13b", "7b"))
    assert {name for name in large if large[name] != small[name]} == {"llm", "projector"}


def test_defaults_are_the_published_ones_too():
    large = load_config("lita-13b").model_dump()
    default = TrainConfig(**PARTS, chat_template="v1").model_dump()
    differing = {name for name in large if large[name] != default[name]}
    assert differing == {*("llm", "vision", "projector", "too_long", "tf32", "epochs", "steps", "epoch_size")}


def test_tiny_is_the_bundled_model_on_a_cpu():
    config = load_config("tiny")
    assert (config.lita, config.precision, config.zero) == ("tiny", "fp32", 2)


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_yaml_out_and_in_again_is_the_same(tmp_path, name):
    config = load_config(name)
    config.save(tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert list(yaml.safe_load((tmp_path / "config.yaml").read_text())) == list(TrainConfig.model_fields)


def test_every_kind_of_value_goes_out_and_in_again(tmp_path):
    config = TrainConfig(
        **{**PARTS, "steps": None},
        projector="mm_projector.bin",
        chat_template="llama_2",
        root=tmp_path / "root",
        on_error="skip",
        train="lora",
        freeze_projector=True,
        lora_rank=8,
        lora_alpha=0.5,
        lora_dropout=0.0,
        lora_targets=("q_proj", "v_proj"),
        lora_bias="lora_only",
        quantize="fp4",
        double_quant=False,
        precision="fp16",
        zero=2,
        offload="optimizer",
        epochs=3,
        epoch_size=1000,
        betas=(0.8, 0.95),
        eps=1e-6,
        max_grad_norm=None,
        time_loss="soft",
        soft_width_seconds=1.5,
        report_to=("wandb", "mlflow"),
    )
    config.save(tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert isinstance(config.root, Path)


def test_the_vicuna_template_has_one_name(tmp_path):
    assert TrainConfig(**PARTS, chat_template="vicuna_v1").chat_template == "v1"


def test_every_field_is_documented():
    described = re.findall(r"^ {8}(\w+): ", TrainConfig.__doc__, re.MULTILINE)
    assert described == list(TrainConfig.model_fields)


def test_nothing_can_be_changed_but_a_changed_copy_is_checked():
    config = TrainConfig(**GIVEN)
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    assert config.replace(seed=1).seed == 1
    assert config.seed == 0
    with pytest.raises(ValueError, match=r"zero\n  quantize: nf4 packs weights, which ZeRO-3 cannot split"):
        config.replace(train="lora", quantize="nf4")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({**GIVEN, "batch_size": 0}, "5: batch_size: Input should be greater than 0, got 0"),
        ({**GIVEN, "learning_rate": "fast"}, "5: learning_rate: Input should be a valid number"),
        ({**GIVEN, "betas": [0.9, 1.0]}, "7: betas.1: Input should be less than 1, got 1.0"),
        ({**GIVEN, "bath_size": 2}, "5: bath_size: Extra inputs are not permitted, got 2"),
        ({**GIVEN, "zero": 1}, "5: zero: Input should be 0, 2 or 3, got 1"),
        ({**GIVEN, "chat_template": "v7"}, "5: chat_template: expected a chat template out of ('v1', "),
        ({**GIVEN, "llm": "vicuna"}, "5: llm: a model comes from lita or from its parts, got both (tiny)"),
        (
            {"mixture": "a", "features": "f", "steps": 1, "llm": "vicuna"},
            "1: vision: expected lita, or llm and vision, to say where the model comes from",
        ),
        (PARTS, "1: chat_template: a model built of parts has none of its own: v1 for Vicuna, llama_2, ..."),
        ({**GIVEN, "epochs": 1}, "4: steps: expected either epochs or steps, got both"),
        ({**GIVEN, "quantize": "nf4", "zero": 2}, "5: quantize: only goes with train: lora, got train: all"),
        (
            {**GIVEN, "train": "lora", "quantize": "fp4"},
            "1: zero: quantize: fp4 packs weights, which ZeRO-3 cannot split: take 0 or 2",
        ),
        ({**GIVEN, "lora_rank": 8}, "5: lora_rank: only goes with train: lora, got train: all"),
        (
            {**GIVEN, "train": "lora", "freeze_llm": True},
            "6: freeze_llm: only goes with train: all, got train: lora",
        ),
        (
            {**GIVEN, "train": "projector", "freeze_projector": True},
            "6: freeze_projector: with train: projector nothing would learn: leave it out",
        ),
        ({**GIVEN, "offload": "all", "zero": 2}, "5: offload: all needs zero: 3, got 2, which offloads the"),
        ({**GIVEN, "offload": "optimizer", "zero": 0}, "5: offload: optimizer needs zero: 2 or 3, got 0"),
        (
            {"lita": "tiny", "mixture": "a", "steps": 1},
            "1: features: inputs: features needs the folder that `litakit data features` wrote",
        ),
        (
            {"lita": "tiny", "mixture": "a", "steps": 1, "inputs": "pixels"},
            "1: root: inputs: pixels needs the data root, where the videos are",
        ),
        (
            {**GIVEN, "inputs": "pixels", "root": "."},
            "3: features: only goes with inputs: features, got inputs: pixels",
        ),
        (
            {**GIVEN, "time_loss": "soft", "soft_width_steps": 1.0, "soft_width_seconds": 2.0},
            "5: time_loss: soft needs soft_width_steps or soft_width_seconds, got both",
        ),
        (
            {**GIVEN, "time_loss": "soft"},
            "5: time_loss: soft needs soft_width_steps or soft_width_seconds, got neither",
        ),
        (
            {**GIVEN, "soft_width_steps": 1.0},
            "5: soft_width_steps: only goes with time_loss: soft, got time_loss: cross_entropy",
        ),
    ],
)
def test_a_wrong_config_is_told_where(tmp_path, fields, words):
    path = write(tmp_path / "config.yaml", **fields)
    with pytest.raises(ManifestError, match=re.escape(f"{path}:{words}")):
        load_config(path)


def test_several_faults_are_told_at_once(tmp_path):
    path = write(tmp_path / "config.yaml", **GIVEN, soft_width_steps=1.0, quantize="nf4", zero=2)
    with pytest.raises(ManifestError) as error:
        load_config(path)
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == ["quantize", "soft_width_steps"]


def test_a_name_that_is_none_is_told_which_there_are():
    with pytest.raises(
        ManifestError, match="no such training config; give a YAML file, or one of lita-13b, l"
    ):
        load_config("lita-30b")


def test_epochs_without_a_size_have_no_length():
    config = TrainConfig(**{**GIVEN, "steps": None}, epochs=2)
    assert config.count_steps(num_processes=2, mixture_size=100) == 7
    with pytest.raises(ValueError, match="how long 2 epochs are is not known: set epoch_size, in samples"):
        config.count_samples(num_processes=1)


def test_fields_that_only_go_with_others_exist():
    assert set(ONLY_WITH) < set(TrainConfig.model_fields)
    assert {other for other, _ in ONLY_WITH.values()} < set(TrainConfig.model_fields)
