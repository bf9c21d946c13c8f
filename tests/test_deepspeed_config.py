"""DeepSpeed's configuration: every combination against one written by hand."""

import itertools
import json

import pytest

from litakit.training.config import TrainConfig
from litakit.training.deepspeed import deepspeed_config

BASE = TrainConfig(lita="tiny", mixture="m", features="f", steps=1)
HOST = {"device": "cpu", "pin_memory": True}
STAGE_2 = {"stage": 2, "reduce_bucket_size": "auto"}
STAGE_3 = {
    "stage": 3,
    "reduce_bucket_size": "auto",
    "stage3_prefetch_bucket_size": "auto",
    "stage3_param_persistence_threshold": "auto",
    "stage3_gather_16bit_weights_on_model_save": True,
}
ZERO = {
    (0, "none"): {"stage": 0},
    (2, "none"): STAGE_2,
    (2, "optimizer"): {**STAGE_2, "offload_optimizer": HOST},
    (3, "none"): STAGE_3,
    (3, "optimizer"): {**STAGE_3, "offload_optimizer": HOST},
    (3, "all"): {**STAGE_3, "offload_optimizer": HOST, "offload_param": HOST},
}
PRECISION = {
    "fp32": {"bf16": {"enabled": False}, "fp16": {"enabled": False}},
    "bf16": {"bf16": {"enabled": True}, "fp16": {"enabled": False}},
    "fp16": {"bf16": {"enabled": False}, "fp16": {"enabled": True}},
}


@pytest.mark.parametrize(("zero", "offload"), ZERO)
def test_every_combination(zero, offload):
    for precision, (norm, clipping), batch, accumulation in itertools.product(
        PRECISION, ((1.0, 1.0), (0.5, 0.5), (None, 0.0)), (1, 16), (1, 4)
    ):
        config = BASE.replace(
            zero=zero,
            offload=offload,
            precision=precision,
            max_grad_norm=norm,
            batch_size=batch,
            gradient_accumulation=accumulation,
        )
        found = deepspeed_config(config)
        assert found == {
            "train_batch_size": "auto",
            "train_micro_batch_size_per_gpu": batch,
            "gradient_accumulation_steps": accumulation,
            "gradient_clipping": clipping,
            **PRECISION[precision],
            "zero_optimization": ZERO[zero, offload],
        }
        assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(("zero", "offload"), [(0, "optimizer"), (0, "all"), (2, "all")])
def test_the_other_combinations_are_no_config(zero, offload):
    with pytest.raises(ValueError, match=f"offload\n  {offload} needs zero: "):
        BASE.replace(zero=zero, offload=offload)


def test_what_is_trained_and_how_fast_is_not_deepspeeds_matter():
    other = BASE.replace(train="lora", learning_rate=1.0, seed=7, schedule="constant", report_to=("wandb",))
    assert deepspeed_config(other) == deepspeed_config(BASE)
