from benchmarks.random_model import END, tokenizer_of
from preflexor_pl.core.markers import MARKERS


def test_a_tokenizer_of_bytes_with_the_markers_last():
    tokenizer = tokenizer_of(300)
    assert len(tokenizer) == 300
    assert tokenizer.decode(tokenizer("silk").input_ids) == "silk"
    assert len(tokenizer("silk").input_ids) == 4
    assert [tokenizer.convert_tokens_to_ids(marker) for marker in MARKERS] == [296, 297, 298, 299]
    assert tokenizer.eos_token == END
