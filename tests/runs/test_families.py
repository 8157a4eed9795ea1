"""A whole fit of families unlike Llama, with the shipped layout, adapters and attention kernel."""

import pytest

from preflexor_pl import fit
from tests.families import save_family


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3_5", "mixtral", "mamba", "gpt_oss"])
def test_a_fit_ends_well(call_verb, tmp_path, family, teacher):
    more = {} if family == "mamba" else {"max_position_embeddings": 8192}
    folder = save_family(tmp_path / "model", family, **more)
    args = "--run=runs/one", "--trainer.max_epochs=1", "--data.rejected_sampling.max_new_tokens=20"
    code, _, error = call_verb(fit, f"--model.policy.model_name={folder}", *args)
    assert code == 0, error
    assert (tmp_path / "runs/one/adapter/adapter_model.safetensors").is_file()
