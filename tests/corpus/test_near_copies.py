"""Near-copies of a held-out document are not trained on."""

import random

import pytest

from preflexor_pl.core.errors import ConfigError
from preflexor_pl.corpus.chunks import Chunk
from preflexor_pl.corpus.corpus_index import CorpusIndex
from preflexor_pl.corpus.near_copies import near_copies
from preflexor_pl.corpus.seen_documents import Lineage
from preflexor_pl.datamodule import PreferenceDataModule

ONE = (
    "Spider silk joins stiff crystals with soft chains. The crystals carry the load while the "
    "chains uncoil, and a thread takes more work to break than steel of the same weight."
)
OTHER = (
    "Nacre stacks brittle tablets with thin layers of protein between them. A crack has to turn at "
    "every layer, so that the shell is far tougher than the mineral that it is made of."
)
FOOTER = "Downloaded on 3 May 2024 from a library near you; all rights reserved."
JAPANESE = "クモの糸は硬い結晶と柔らかい鎖からなる。結晶が荷重を支え、鎖がほどけることで、同じ重さの鋼よりも多くの仕事を吸収する。"  # noqa: E501


def chunks(**texts):
    return {f"{n}#0": Chunk(f"{n}#0", n, text, 0, len(text)) for n, text in texts.items()}


def library(**texts):
    """Of one chunk a document; nothing is searched in it."""
    return CorpusIndex(chunks(**texts), None, None, [])


def groups(**texts):
    """Sets of near-copies, without documents that are alone."""
    found = near_copies(chunks(**texts).values())
    together = ({name for name in found if found[name] == first} for first in texts)
    return [group for group in together if len(group) > 1]


@pytest.mark.parametrize(
    "copy",
    [
        f"{ONE} {FOOTER}",
        ONE.replace("crystals", "crys-\ntals").replace(" ", "\n"),  # as a PDF has it
        ONE.upper(),
        ONE[: len(ONE) // 2],
        f"{OTHER} {ONE} {FOOTER}",  # what has more may have anything beside it
        ONE.replace("steel", "iron"),
    ],
    ids=["footer", "line ends", "capitals", "excerpt", "part", "word"],
)
def test_what_is_a_near_copy(copy):
    assert groups(one=ONE, other=JAPANESE, copy=copy) == [{"one", "copy"}]
    assert groups(copy=copy, one=ONE) == [{"one", "copy"}]


def test_what_is_none():
    assert groups(one=ONE, other=OTHER) == []
    assert groups(one=f"{ONE} {FOOTER}", other=f"{OTHER} {FOOTER}") == []  # the same footer
    assert groups(one="So.", two="So", three="Silk is tough.") == []  # too short to tell
    assert groups(one=ONE, two=" ".join(sorted(ONE.split()))) == []  # the same words
    assert near_copies([]) == {}


def test_any_script_and_however_it_is_cut():
    assert groups(one=JAPANESE, two=f"{JAPANESE}以上。", three=ONE) == [{"one", "two"}]
    cut = [Chunk(f"b#{n}", "b", ONE[s : s + 60], s, s + 60) for n, s in enumerate((0, 40, 100))]
    whole = list(chunks(a=ONE).values())
    assert near_copies([*whole, *cut]) == {"a": "a", "b": "a"}


def test_a_chain_of_near_copies_is_one_group_and_many_copies_are():
    parts = [f"{ONE} {OTHER}", f"{OTHER} {FOOTER}", f"{ONE} A note on silk."]
    assert groups(**dict(zip("abc", parts, strict=True))) == [{"a", "b", "c"}]
    many = {f"d{n}": f"{ONE} This is copy {n}." for n in range(20)}
    others = {f"o{n}": f"{n:04} is a number. " * 3 for n in range(180)}
    assert groups(**others, **many) == [set(many)]


def test_what_more_than_a_tenth_of_the_documents_share_does_not_count():
    """Forms, licences and templates; with so few documents that it may be a copy it does."""
    form = {f"d{n}": f"{ONE} {f'{n:04} is what they filled in. ' * 2}" for n in range(20)}
    assert groups(**form) == []
    copy = f"{form['d3']} {FOOTER}"
    assert groups(**form, copy=copy) == [{"d3", "copy"}]
    few = dict(list(form.items())[:4])
    assert groups(**few) == [set(few)]


def test_a_sample_of_the_shingles_finds_the_same(monkeypatch):
    rng = random.Random(0)
    words = [f"{a}{b}" for a in "abcdefgh" for b in "ijklmnop"]
    texts = {name: " ".join(rng.choices(words, k=2000)) for name in "abcd"}
    texts["copy"] = " ".join(texts["b"].split()[500:])
    monkeypatch.setattr("preflexor_pl.corpus.near_copies.MOST", 1000)
    assert groups(**texts) == [{"b", "copy"}]


def held(library, count, seed, lineage=None):
    return {library.chunks[id].document for id in library.hold_out(count, seed, lineage)[1]}


TEXTS = {name: f"{name * 40} is the word that the text on {name} is about." for name in "abcdef"}


@pytest.mark.parametrize("seed", range(8))
def test_a_group_is_wholly_on_one_side_and_counts_once(seed):
    copies = {"b2": f"{TEXTS['b']} Page 1.", "b3": TEXTS["b"].upper() + "!", "e2": TEXTS["e"] + "?"}
    out = held(library(**TEXTS, **copies), 2, seed)
    for group in ({"b", "b2", "b3"}, {"e", "e2"}):
        assert out & group in (set(), group)
    assert len({name[0] for name in out}) == 2


@pytest.mark.parametrize("seed", range(8))
def test_without_near_copies_the_seed_draws_what_it_did_before(seed):
    assert held(library(**TEXTS), 2, seed) == set(random.Random(seed).sample("abcdef", 2))


def test_near_copies_of_what_earlier_phases_used():
    first = library(**TEXTS)
    out = held(first, 2, 0)
    trained = {hash for name, hash in first.hashes.items() if name not in out}
    lineage = Lineage().then(trained, set(first.hashes.values()) - trained)
    copies = {f"{name}2": f"{text} Page 1." for name, text in TEXTS.items()}
    for seed in range(5):
        assert held(library(**TEXTS, **copies), 2, seed, lineage) == out | {f"{n}2" for n in out}
        assert held(library(**TEXTS, **copies), 5, seed, lineage) == out | {f"{n}2" for n in out}


def test_groups_that_are_too_few_are_refused():
    copies = library(one=ONE, two=f"{ONE} {FOOTER}", three=OTHER)
    assert held(copies, 1, 0) in ({"one", "two"}, {"three"})
    with pytest.raises(ConfigError, match=r"held_out: 2 .* of 3 \(2 without near-copies\); .* 1$"):
        copies.hold_out(2, 0)
    with pytest.raises(ConfigError, match=r"held_out: 1 .* of 2 \(1 without .*\); add documents"):
        library(one=ONE, two=f"{ONE} {FOOTER}").hold_out(1, 0)


@pytest.mark.parametrize(("copy", "line"), [(f"{ONE} {FOOTER}", True), (FOOTER, False)])
def test_a_line_says_how_many_there_are(tmp_path, capsys, copy, line):
    data = PreferenceDataModule("corpus", run=str(tmp_path), held_out=1)
    data.library = library(one=ONE, other=OTHER, copy=copy)
    data.setup("fit")
    said = "  near-copies of other documents: 1; each group is held out or trained on as a whole\n"
    assert (said in capsys.readouterr().out) == line
