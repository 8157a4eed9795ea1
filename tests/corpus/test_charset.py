"""Texts as bytes in many encodings, declared and not, and what is no text."""

import pytest

from preflexor_pl.corpus.charset import declared_in, decode, encoding_of
from preflexor_pl.corpus.reader import read_folder

TEXTS = {
    "de": "Die Größe der Fasern beträgt 5 µm, „die Zähigkeit“ liegt über der von Stahl. ",
    "fr": "La résistance à la rupture de la soie d’araignée est supérieure à celle de l'acier. ",
    "en": "The fibre is 5 µm wide and the temperature was 37 °C in every one of the experiments. ",
    "pl": "Wytrzymałość nici pająka jest większa niż stali, a jej ciągliwość wynosi 30 procent. ",
    "cs": "Pevnost pavoučího vlákna je větší než pevnost oceli a tažnost je přibližně 30 procent. ",
    "tr": "Örümcek ipeğinin dayanıklılığı çelikten daha yüksektir ve uzaması yaklaşık yüzde 30. ",
    "ru": "Прочность нити паука больше прочности стали, а её растяжимость около 30 процентов. ",
    "el": "Η αντοχή του μεταξιού της αράχνης είναι μεγαλύτερη από του χάλυβα και τεντώνεται. ",
    "ja": "蜘蛛の糸は鋼鉄よりも強く、約三割も伸びることができる素材です。",
    "zh": "蜘蛛丝的强度高于钢，伸长率约为百分之三十。这是由其蛋白质的结构决定的。",
    "zh-tw": "蜘蛛絲的強度高於鋼，伸長率約為百分之三十。這是由其蛋白質的結構決定的。",
    "ko": "거미줄은 강철보다 강하고 약 삼십 퍼센트까지 늘어난다. 이는 단백질의 구조 때문이다. ",
    "ar": "الحرير العنكبوتي أقوى من الفولاذ ويتمدد بنسبة ثلاثين في المئة تقريبا. ",
    "he": "חוט העכביש חזק יותר מפלדה ונמתח בכשלושים אחוזים. ",
    "th": "ใยแมงมุมแข็งแรงกว่าเหล็กกล้าและยืดได้ประมาณสามสิบเปอร์เซ็นต์ ",
}
ENCODINGS = {
    "de": "cp1252", "fr": "cp1252", "en": "cp1252", "pl": "cp1250 iso8859_2", "cs": "cp1250",
    "tr": "cp1254", "ru": "cp1251 koi8_r iso8859_5", "el": "cp1253",
    "ja": "shift_jis euc_jp iso2022_jp", "zh": "gbk gb18030", "zh-tw": "big5", "ko": "euc_kr",
    "ar": "cp1256", "he": "cp1255", "th": "cp874",
}  # fmt: skip
ALWAYS = "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32"


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        (language, encoding)
        for language, own in ENCODINGS.items()
        for encoding in (own if language not in ("de", "ru") else f"{own} {ALWAYS}").split()
    ],
)
def test_an_encoding_is_told_by_the_bytes(language, encoding):
    text = TEXTS[language] * 3
    assert decode(text.encode(encoding)).removeprefix("\ufeff") == text


def test_a_few_broken_bytes_do_not_make_another_encoding_of_utf8():
    data = TEXTS["ru"].encode() + b"\xff" + TEXTS["ru"].encode()
    assert decode(data) == TEXTS["ru"] + "\ufffd" + TEXTS["ru"]
    assert encoding_of(TEXTS["ja"].encode()[:-1]) == "utf-8"  # a part, cut within a character


@pytest.mark.parametrize("data", [bytes(range(256)) * 2, bytes(range(1, 256)) * 2])
def test_what_is_no_text(data):
    assert decode(data) is None


@pytest.mark.parametrize(
    ("markup", "declared"),
    [
        (b'<meta charset="windows-1251">', "cp1251"),
        (b'<META http-equiv="Content-Type" content="text/html; charset=Shift_JIS">', "cp932"),
        (b"<meta charset=gb2312>", "gb18030"),
        (b'<meta name="x" charset=iso-8859-1 />', "cp1252"),
        (b'<?xml version="1.0" encoding="koi8-r"?>', "koi8-r"),
        (b"<meta charset=utf-8>", ""),
        (b"<meta charset=utf-7><p>", ""),
        (b"<meta charset=no-such>", ""),
        (b"<p>charset=windows-1251</p>", ""),
    ],
)
def test_what_a_page_declares(markup, declared):
    assert declared_in(markup) == declared


def test_each_file_of_a_folder_has_its_own_encoding(tmp_path):
    for language, encoding in ENCODINGS.items():
        text = TEXTS[language] * 4
        (tmp_path / f"{language}.txt").write_bytes(text.encode(encoding.split()[0]))
    page = f"<meta charset=windows-1251><title>Нить</title><p>{TEXTS['ru'] * 5}"
    (tmp_path / "ru.html").write_bytes(page.encode("cp1251"))
    (tmp_path / "ja.html").write_bytes(f"<meta charset=Shift_JIS>{TEXTS['ja'] * 5}".encode("cp932"))
    (tmp_path / "saved.html").write_text(f"<meta charset=windows-1251>{TEXTS['ru'] * 6}")
    found = {document.id: document for document in read_folder(tmp_path).documents}
    for language in ENCODINGS:
        assert found[f"{language}.txt"].text == (TEXTS[language] * 4).strip()
    assert (found["ru.html"].title, found["ru.html"].text) == ("Нить", (TEXTS["ru"] * 5).strip())
    assert found["ja.html"].text == TEXTS["ja"] * 5
    assert found["saved.html"].text == (TEXTS["ru"] * 6).strip()  # an editor made it UTF-8
