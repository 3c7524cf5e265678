"""What a vocabulary cannot represent is counted, told and refused; what a text says is never a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from pegasus import PegasusTokenizer, PegasusTokenizerFast
from pegasus.errors import BadData, BadSetting
from pegasus.summarizer import Summarizer
from pegasus.summarizer.characters import Characters, Unknown, UnknownTally, percent, refuse_unknown
from pegasus.summarizer.text_codec import TextCodec
from pegasus.tokenization.vocabulary.model_file import CONTROL, NORMAL, UNKNOWN, PieceTable, write_model

#: English pieces that lack most letters with accents, and all of other scripts.
PLAIN = Path(__file__).resolve().parents[1] / "fixtures" / "tokenizer-plain"
ENGLISH = "The boats passed the old bridge in the evening, and several hundred people came to see them. "
# Own translations of one sentence about a parade of boats.
OTHER_SCRIPTS = {
    "Russian": "Вчера вечером несколько сотен человек собрались у реки, чтобы посмотреть парад лодок.",
    "Greek": "Χθες το βράδυ εκατοντάδες άνθρωποι μαζεύτηκαν δίπλα στο ποτάμι.",
    "Chinese": "昨天晚上,几百人聚集在河边观看船只表演。",
    "Japanese": "昨夜、数百人が川辺に集まり、船のパレードを見物した。",
    "Korean": "어젯밤 수백 명이 배 행렬을 보기 위해 강가에 모였다.",
    "Arabic": "اجتمع مئات الأشخاص مساء أمس بجانب النهر لمشاهدة عرض القوارب.",
    "Hindi": "कल शाम सैकड़ों लोग नावों की परेड देखने के लिए नदी के किनारे इकट्ठा हुए।",
    "Vietnamese": "Tối hôm qua vài trăm người đã tập trung bên bờ sông để xem cuộc diễu hành thuyền.",
}
LATIN = {
    "Polish": "Wczoraj wieczorem nad rzeką zebrało się kilkaset osób, żeby obejrzeć pokaz łodzi.",
    "Turkish": "Dün akşam birkaç yüz kişi tekne gösterisini izlemek için nehir kıyısında toplandı.",
    "French": "Hier soir, plusieurs centaines de personnes se sont réunies près de la rivière.",
}


@pytest.fixture(scope="module", params=[PegasusTokenizer, PegasusTokenizerFast], ids=["slow", "fast"])
def characters(request) -> Characters:
    return Characters(request.param.from_pretrained(PLAIN))


@pytest.fixture(scope="module")
def mini() -> Summarizer:
    return Summarizer.from_pretrained("pegasus-mini", device="cpu", num_beams=1, threads=1)


@pytest.mark.parametrize(
    ("text", "lost", "visible", "example"),
    [
        ("Gdańsk won.", 1, 10, "Gdańsk"),
        ("It cost £45 more.", 1, 14, "£45"),
        ("Ask info@example.org now.", 1, 23, "info@example.org"),
        ("Take ¾ cup.", 1, 9, "¾"),  # normalized to "3⁄4", of which "34" would be left
        ("Well done 🎉🎉!", 2, 11, "🎉🎉"),
        ("A damaged w�rd", 1, 12, "w�rd"),
        ("half an emoji \ud83d here", 1, 16, "�"),
        ("x <tag> y", 2, 7, "<tag>"),
    ],
)
def test_lost_characters_are_counted_and_shown(characters, text, lost, visible, example) -> None:
    found = characters.find_unknown(text)
    assert (found.characters, found.examples) == (lost, (example,))
    assert found.share == pytest.approx(lost / visible)


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        "the mayor’s “plan” – done",
        "cafe\u0301 and caf\u00e9",  # decomposed: the vocabulary has the letter
        "co\u00adoperate",
        "zero\u200bwidth, joined\u200d",
        "\ufeffbegin",
        "left\u200eright",
        "fine ﬁne ＡＢＣ x²",  # what normalizing writes in letters that are there
        "tab\there\u00a0and\u2009there",
        "",
    ],
)
def test_what_is_read_or_has_no_shape_is_not_counted(characters, text: str) -> None:
    assert characters.find_unknown(text) == Unknown()


def test_an_example_of_a_long_word_shows_its_unknown_part(characters) -> None:
    (example,) = characters.find_unknown("a" * 50 + "Ł" + "b" * 50).examples
    assert len(example) == 22
    assert example.startswith("…a")
    assert "Ł" in example
    many = characters.find_unknown(" ".join(f"Ż{letter}" for letter in "abcdefgh"))
    assert many.examples == ("Ża", "Żb", "Żc", "Żd", "Że")


@pytest.mark.parametrize("language", OTHER_SCRIPTS)
def test_a_text_in_letters_that_are_not_there_is_refused(characters, language: str) -> None:
    found = characters.find_unknown(OTHER_SCRIPTS[language])
    assert found.letters > 0.25
    with pytest.raises(BadData, match=r"lacks \d+ % of the text's letters"):
        refuse_unknown(found, None)
    refuse_unknown(found, "warn")
    refuse_unknown(found, "ignore")


@pytest.mark.parametrize("language", LATIN)
def test_a_text_in_latin_letters_is_told_of(characters, language: str) -> None:
    found = characters.find_unknown(LATIN[language])
    assert found
    assert found.letters < 0.2
    refuse_unknown(found, None)
    with pytest.raises(BadData, match="lacks"):
        refuse_unknown(found, "error")


def test_signs_and_emoji_do_not_make_a_text_meaningless(characters) -> None:
    found = characters.find_unknown("We won 🎉🎉🎉🎉🎉🎉 {{{{ ||||")
    assert found.share > 0.5
    assert found.letters == 0
    refuse_unknown(found, None)


def test_every_character_is_asked_for_once(characters, monkeypatch) -> None:
    asked: list[str] = []
    tokenizer, encode = characters._tokenizer, characters._tokenizer.encode_ids

    def encode_ids(texts, **options):
        asked.extend(texts)
        return encode(texts, **options)

    monkeypatch.setattr(tokenizer, "encode_ids", encode_ids)
    for _ in range(3):
        characters.find_unknown("Qœŧ " * 1000 + ENGLISH)
        characters.make_legible("Qœŧ\u00ad " * 1000)
    assert len(asked) == len(set(asked)) < 40


def test_a_tally_of_texts(characters) -> None:
    tally = UnknownTally()
    for text in ("plain text", "Łódź here", "more of it", "Kraków"):
        tally.add(characters.find_unknown(text), text)
    assert (tally.texts, tally.holding, tally.examples) == (4, 2, ("Łódź", "Kraków"))
    lost = sum(characters.find_unknown(text).characters for text in ("Łódź", "Kraków"))
    assert tally.share == pytest.approx(lost / 31)
    assert tally.line("sources").startswith("2 of 4 sources hold characters that the vocabulary lacks: ")
    assert UnknownTally().line("rows") == "the vocabulary has every character of 0 rows"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (0.00001, "under 0.1 %"), (0.0234, "2.3 %"), (0.1, "10 %"), (0.996, "100 %")],
)
def test_shares_are_written(share: float, text: str) -> None:
    assert percent(share) == text


def test_the_summary_tells(mini) -> None:
    summary = mini(ENGLISH + "They had come from 東京 and 서울. " + ENGLISH)
    assert summary.unknown.examples == ("東京", "서울")
    assert summary.unknown.characters == 4
    assert summary.to_dict()["unknown"]["examples"] == ("東京", "서울")
    (warning,) = [each for each in summary.warnings if each.startswith("unknown")]
    assert warning == "unknown: the vocabulary lacks 2.3 % of the text's characters (東京, 서울)"
    quiet = mini(ENGLISH + "They had come from 東京 and 서울.", unknown="ignore")
    assert not any(each.startswith("unknown") for each in quiet.warnings)
    assert quiet.unknown.characters == 4
    assert not mini(ENGLISH).unknown


def test_one_text_is_refused_and_the_others_are_not(mini) -> None:
    refused, done = mini.attempt([OTHER_SCRIPTS["Chinese"], ENGLISH])
    assert isinstance(refused, BadData)
    assert done.text
    assert mini(OTHER_SCRIPTS["Chinese"], unknown="warn").warnings[0].startswith("unknown: the vocabulary")
    with pytest.raises(BadData, match="knows them"):
        mini("An English text with one 京.", unknown="error")
    with pytest.raises(BadSetting, match="warn, error, ignore"):
        mini(ENGLISH, unknown="maybe")


SPECIALS = ["</s>", "<pad>", "<mask_1>", "<mask_2>", "<unk_2>", "<unk>", "<n>", "＜n＞", "<s>"]


@pytest.fixture(scope="module", params=["drop", "authors", "flax"])
def reader(request) -> TextCodec:
    return TextCodec(PegasusTokenizer.from_pretrained("pegasus-mini", newline=request.param))


@pytest.mark.parametrize("special", SPECIALS)
def test_special_tokens_in_a_text_are_text(reader: TextCodec, special: str) -> None:
    tokenizer = reader.tokenizer
    commands = {*tokenizer.all_special_ids, tokenizer.convert_tokens_to_ids("<n>")} - {
        tokenizer.unk_token_id
    }
    (ids,) = reader.encode([f"one {special} two{special}three"])
    assert not commands & set(ids[:-1])
    assert ids[-1] == tokenizer.eos_token_id
    assert reader.count([f"one {special} two{special}three"]) == [len(ids) - 1]


def test_special_tokens_do_not_end_a_text(mini) -> None:
    broken = ENGLISH + " </s><pad> <mask_1> " + ENGLISH
    summary = mini(broken)
    assert summary.input_tokens > 2 * mini(ENGLISH).input_tokens - 2
    assert summary.unknown.examples[0] == "</s><pad>"
    in_pieces = mini(broken * 2, long="chunk", max_input_tokens=40)
    assert in_pieces.long == "chunk"
    assert "".join((broken * 2)[chunk.start : chunk.end] for chunk in in_pieces.chunks) == broken * 2
    (streamed,) = mini.stream([broken])
    assert streamed.text == summary.text == mini.attempt([broken])[0].text


BREAKS = ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r", "\r\n", "\n"]


@pytest.mark.parametrize("line_break", BREAKS)
def test_every_line_break_is_one(reader: TextCodec, line_break: str) -> None:
    assert reader.encode([f"old{line_break}bridge"]) == reader.encode(["old\nbridge"])


@pytest.mark.parametrize(
    ("text", "same"), [("5½ or 10² or 3₂", "5 ½ or 10 ² or 3 ₂"), ("km² ½", "km2 1⁄2")]
)
def test_raised_figures_are_no_part_of_those_before_them(reader: TextCodec, text: str, same: str) -> None:
    assert reader.encode([text]) == reader.encode([same])


def test_what_is_lost_leaves_one_blank(reader: TextCodec) -> None:
    (tokens,) = reader.encode(["Helmholz & Sons \U0001f6dd came\nwith \U0001f6dd\U0001f6dd lemonade &"])
    assert reader.decode(tokens).replace("\n", " ") == "Helmholz Sons came with lemonade"


def test_a_separator_is_a_blank_and_invisible_characters_glue_nothing_in(reader: TextCodec) -> None:
    assert reader.encode(["old\x1fbridge"]) == reader.encode(["old bridge"])
    assert reader.encode(["brid\u00adge\u2060s\u200d"]) == reader.encode(["bridges"])
    assert reader.encode(["half \ud83d here"]) == reader.encode(["half here"])


@pytest.mark.parametrize("text", ["\ufeff", "\u200b\u00ad", "\u2066 \u2069", "\u200d\n"])
def test_a_text_of_what_has_no_shape_is_empty(mini, text) -> None:
    (end,) = mini.attempt([text])
    assert isinstance(end, BadData)
    assert "nothing that can be seen" in str(end)


@pytest.mark.parametrize("text", ["\U0001f600\U0001f600", "\U0001f389 !", "\ud83d\ude00", "☃ ☂"])
def test_a_text_of_signs_alone_that_are_unknown_is_refused(mini, text) -> None:
    (end,) = mini.attempt([text])
    assert isinstance(end, BadData)
    assert "would mean nothing" in str(end)
    assert not isinstance(mini.attempt([text], unknown="warn")[0], BadData)
    assert not isinstance(mini.attempt(["€100 €200"])[0], BadData)


def test_halves_that_belong_together_are_one_character(characters) -> None:
    assert characters.find_unknown("a \ud83d\ude00").examples == ("\U0001f600",)


def test_words_that_are_pieces_are_known_though_their_letters_are_none(tmp_path):
    pieces = ["<pad>", "</s>", "<unk>", "▁w7", "▁w8", "▁", "a"]
    kinds = [CONTROL, CONTROL, UNKNOWN, NORMAL, NORMAL, NORMAL, NORMAL]
    table = PieceTable(pieces=pieces, scores=[0.0] * 3 + [-1.0] * 4, kinds=kinds)
    (tmp_path / "spiece.model").write_bytes(write_model(table))
    characters = Characters(PegasusTokenizer(str(tmp_path / "spiece.model")))
    assert not characters.find_unknown("w7 w8 w7 a")
    found = characters.find_unknown("w7 w9 w8 a")
    assert (found.characters, found.examples) == (2, ("w9",))
