import pytest

from preflexor_pl.core.settings import LoRASettings, PolicySettings, Sampling, check_value

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "values", "key"),
    [
        (LoRASettings, {"rank": 0}, r"lora\.rank"),
        (LoRASettings, {"alpha": 0}, r"lora\.alpha"),
        (LoRASettings, {"alpha": NAN}, r"lora\.alpha"),
        (LoRASettings, {"dropout": 0.05}, r"lora\.dropout"),
        (PolicySettings, {"model_name": ""}, r"policy\.model_name"),
        (PolicySettings, {"model_name": "  "}, r"policy\.model_name"),
        (Sampling, {"max_new_tokens": 0}, "max_new_tokens"),
        (Sampling, {"min_new_tokens": -1}, "min_new_tokens"),
        (Sampling, {"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens"),
        (Sampling, {"temperature": -0.1}, "temperature"),
        (Sampling, {"temperature": NAN}, "temperature"),
        (Sampling, {"temperature": INF}, "temperature"),
        (Sampling, {"top_k": -1}, "top_k"),
        (Sampling, {"top_p": 0.0}, "top_p"),
        (Sampling, {"top_p": 1.1}, "top_p"),
        (Sampling, {"top_p": NAN}, "top_p"),
        (Sampling, {"repetition_penalty": 0.9}, "repetition_penalty"),
        (Sampling, {"repetition_penalty": NAN}, "repetition_penalty"),
    ],
)
def test_what_cannot_work_is_refused_by_name(kind, values, key):
    with pytest.raises(ValueError, match=rf"^[a-z.]*{key}: got .*, must be "):
        kind(**values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (LoRASettings, {"rank": 1, "alpha": 1}),
        (Sampling, {"max_new_tokens": 1, "temperature": 0.0, "top_k": 0, "top_p": 1.0}),
    ],
)
def test_the_limits_themselves_are_allowed(kind, values):
    kind(**values)


def test_the_message_says_key_value_and_rule():
    with pytest.raises(ValueError, match=r"^data\.held_out: got 0, must be >= 1$"):
        check_value(False, "data.held_out", 0, ">= 1")


@pytest.mark.parametrize("changes", [{"dtype": "float32"}, {"lora": None}])
def test_flash_attention_takes_no_float32(changes):
    with pytest.raises(ValueError, match=r"^model\.policy\.attn_implementation: .*float32"):
        PolicySettings(attn_implementation="flash_attention_2", **changes)
