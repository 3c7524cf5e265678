from __future__ import annotations

import hashlib
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegasus.data.deduplicate import Seen
from pegasus.data.gap import GapSettings, choose_in_text
from pegasus.data.loader import Loader, padding_share
from pegasus.data.prepare import PrepareSettings, Progress, prepare
from pegasus.data.pretraining import PretrainingSettings, make_example, text_example
from pegasus.data.read import read_documents
from pegasus.data.sentences import split_authors
from pegasus.data.shards import Manifest, Shards
from pegasus.data.sources import ShardSource
from pegasus.errors import BadData, BadSetting

TEXTS = [
    f"The {word} sat. A dog ran {number}. The {word} ran! Birds sing."
    for number, word in enumerate("abcdef" * 20)
]


class Letters:
    """A tokenizer of one id a character, with as many ids as it is told to have."""

    def __init__(self, size: int = 1200) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def encode_ids(self, texts: Sequence[str], **_: Any) -> list[np.ndarray]:
        return [np.array([106 + ord(letter) for letter in text.strip()], np.int32) for text in texts]

    def save_pretrained(self, folder: str) -> None:
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / "letters.json").write_text(str(self.size), "utf-8")


def corpus(folder: Path, texts: Sequence[str] = TEXTS) -> Path:
    file = folder / "corpus.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    return file


def digests(folder: Path) -> dict[str, str]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


SMALL = PrepareSettings(shard_bytes=1000)


def test_documents_come_back_as_ids_borders_and_scores(tmp_path: Path) -> None:
    manifest, _ = prepare([corpus(tmp_path)], Letters(), tmp_path / "out", SMALL)
    assert len(manifest.shards) > 3
    shards = Shards(tmp_path / "out")
    shards.verify()
    assert len(shards) == len(TEXTS)
    for number in (0, 1, 57, len(TEXTS) - 1):
        ids, scores = shards.document(number)
        sentences = split_authors(TEXTS[number])
        assert ["".join(chr(i - 106) for i in row) for row in ids] == [text.strip() for text in sentences]
        assert scores is not None
        settings = PretrainingSettings(GapSettings(ratio=0.5))
        made = make_example(ids, settings, _symbols(), np.random.default_rng(0), scores=scores)
        expected = choose_in_text(sentences, settings.gap, np.random.default_rng(0))
        assert made.choice.sentences.tolist() == expected.sentences.tolist()
    assert shards.lengths(np.array([0, 5])).tolist() == [
        sum(map(len, shards.document(n)[0])) for n in (0, 5)
    ]
    with pytest.raises(IndexError):
        shards.document(len(TEXTS))


def _symbols() -> Any:
    from pegasus.data.mask import Symbols

    return Symbols(1200, 105, np.zeros(1200, bool))


def test_the_manifest_says_what_was_done_and_how_much(tmp_path: Path) -> None:
    texts = [*TEXTS[:10], TEXTS[3], "One sentence only.", TEXTS[0]]
    file = corpus(tmp_path, texts)
    file.write_text(file.read_text("utf-8") + "{broken\n" + '{"text": ""}\n', "utf-8")
    faults: list[BadData] = []
    manifest, progress = prepare([file], Letters(), tmp_path / "out", SMALL, bad=faults.append)
    assert manifest == Manifest.read(tmp_path / "out")
    statistics = manifest.statistics
    assert (statistics["documents_read"], statistics["duplicates"], statistics["bad_rows"]) == (13, 2, 2)
    assert (statistics["documents"], statistics["one_sentence"]) == (11, 1)
    assert statistics["sentences"] == 41
    assert statistics["text_bytes"] == sum(len(text) for text in {*texts})
    assert [fault.line for fault in faults] == [14, 15]
    assert progress.documents == 11
    assert manifest.settings["strategy"] == "ind-orig"


def test_duplicates_stay_when_told_to(tmp_path: Path) -> None:
    settings = PrepareSettings(deduplicate=False)
    manifest, _ = prepare([corpus(tmp_path, ["A b. C."] * 3)], Letters(), tmp_path / "out", settings)
    assert manifest.statistics["documents"] == 3


@pytest.mark.parametrize("strategy", ["seq-uniq", "random", "hybrid", "ind-log"])
def test_other_strategies(tmp_path: Path, strategy: str) -> None:
    settings = PrepareSettings(GapSettings(strategy), shard_bytes=1000)
    prepare([corpus(tmp_path)], Letters(), tmp_path / "out", settings)
    ids, scores = Shards(tmp_path / "out").document(7)
    if strategy == "random":
        assert scores is None
        return
    assert scores is not None
    for ratio in (0.3, 0.5, 0.8):
        gap = GapSettings("ind-orig" if strategy == "hybrid" else strategy, ratio=ratio)
        expected = choose_in_text(split_authors(TEXTS[7]), gap, np.random.default_rng(0)).sentences
        made = make_example(
            ids, PretrainingSettings(gap), _symbols(), np.random.default_rng(0), scores=scores
        )
        assert made.choice.sentences.tolist() == expected.tolist()


def test_small_vocabularies_take_two_bytes_an_id(tmp_path: Path) -> None:
    small, _ = prepare([corpus(tmp_path)], Letters(2000), tmp_path / "small")
    large, _ = prepare([corpus(tmp_path)], Letters(96_103), tmp_path / "large")
    assert large.shards[0].size - small.shards[0].size == 2 * small.shards[0].tokens
    assert (
        Shards(tmp_path / "small").document(3)[0][0].tolist()
        == Shards(tmp_path / "large").document(3)[0][0].tolist()
    )


def by_lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def test_a_sentence_rule_of_ones_own(tmp_path: Path) -> None:
    file = corpus(tmp_path, ["One two\nthree. four\nfive"])
    manifest, _ = prepare([file], Letters(), tmp_path / "out", PrepareSettings(splitter=by_lines))
    assert manifest.statistics["sentences"] == 3
    assert manifest.settings["splitter"].endswith(".by_lines")


def test_what_cannot_be_prepared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="continuous"):
        PrepareSettings(GapSettings("continuous-orig"))
    with pytest.raises(BadSetting, match="rule"):
        PrepareSettings(splitter="punkt")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(BadData, match="holds no text"):
        prepare([empty], Letters(), tmp_path / "out")
    with pytest.raises(BadData, match="no finished corpus"):
        Shards(tmp_path / "out")


# --- going on
# ------------------------------------------------------------------------------------------------


def test_a_finished_corpus_is_not_made_again(tmp_path: Path) -> None:
    file = corpus(tmp_path)
    prepare([file], Letters(), tmp_path / "out", SMALL)
    before = digests(tmp_path / "out")
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.safetensors")}
    _, progress = prepare([file], Letters(), tmp_path / "out", SMALL)
    assert progress.found == progress.shards == len(times)
    assert digests(tmp_path / "out") == before
    assert {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.safetensors")
    } == times


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3])
def test_a_run_that_ended_goes_on_and_ends_the_same(tmp_path: Path, after: int) -> None:
    def stop(progress: Progress) -> None:
        if progress.shards == after:
            raise Stop

    file = corpus(tmp_path)
    prepare([file], Letters(), tmp_path / "whole", SMALL)
    with pytest.raises(Stop):
        prepare([file], Letters(), tmp_path / "out", SMALL, report=stop)
    (tmp_path / "out" / ".00007.safetensors.99.partial").write_bytes(b"half a file")
    with pytest.raises(BadData, match="no finished corpus"):
        Shards(tmp_path / "out")
    _, progress = prepare([file], Letters(), tmp_path / "out", SMALL)
    assert progress.found == after
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_other_settings_or_texts_make_other_shards(tmp_path: Path) -> None:
    file = corpus(tmp_path)
    prepare([file], Letters(), tmp_path / "out", SMALL)
    _, progress = prepare(
        [file], Letters(), tmp_path / "out", PrepareSettings(GapSettings("ind-uniq"), shard_bytes=1000)
    )
    assert progress.found == 0
    _, progress = prepare([file], Letters(1300), tmp_path / "out", SMALL)
    assert progress.found == 0
    corpus(tmp_path, [*TEXTS[:60], "Another one.", *TEXTS[60:]])
    manifest, progress = prepare([file], Letters(1300), tmp_path / "out", SMALL)
    assert 0 < progress.found < progress.shards
    corpus(tmp_path, TEXTS[:30])
    manifest, _ = prepare([file], Letters(1300), tmp_path / "out", SMALL)
    names = {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    assert names == {shard.file for shard in manifest.shards}


def test_a_file_that_was_altered_is_found_and_made_again(tmp_path: Path) -> None:
    file = corpus(tmp_path)
    prepare([file], Letters(), tmp_path / "out", SMALL)
    before = digests(tmp_path / "out")
    shard = tmp_path / "out" / "00001.safetensors"
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(BadData, match="altered"):
        Shards(tmp_path / "out").verify()
    shard.write_bytes(bytes(data[:-1]))
    with pytest.raises(BadData, match="bytes"):
        Shards(tmp_path / "out")
    _, progress = prepare([file], Letters(), tmp_path / "out", SMALL)
    assert progress.shards - progress.found == 1
    assert digests(tmp_path / "out") == before


RUN = """
import sys
from pegasus import PegasusTokenizerFast
from pegasus.data.prepare import PrepareSettings, prepare

if __name__ == "__main__":
    vocabulary, corpus, output, processes = sys.argv[1:]
    tokenizer = PegasusTokenizerFast.from_pretrained(vocabulary)
    settings = PrepareSettings(shard_bytes=60_000)
    prepare([corpus], tokenizer, output, settings, processes=int(processes),
            report=lambda progress: print(progress.shards, progress.found, flush=True))
"""


def start(script: Path, *words: object) -> subprocess.Popen[str]:
    script.write_text(RUN, "utf-8")
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, words)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_at_random_and_started_again_it_ends_the_same(
    shared: Path, vocabulary_96k: Path, tmp_path: Path, kills: int
) -> None:
    from pegasus import PegasusTokenizerFast

    source, script, killed = (
        shared / "data" / "pretrain" / "news.jsonl.xz",
        tmp_path / "run.py",
        tmp_path / "killed",
    )
    tokenizer = PegasusTokenizerFast.from_pretrained(str(vocabulary_96k))
    prepare([source], tokenizer, tmp_path / "whole", PrepareSettings(shard_bytes=60_000))
    rng = random.Random(4)
    for _ in range(kills):
        with start(script, vocabulary_96k, source, killed, 2) as run:
            assert run.stdout is not None
            for _ in range(rng.randint(1, 3)):
                run.stdout.readline()
            time.sleep(rng.random() / 20)
            run.send_signal(signal.SIGKILL)
    _, progress = prepare([source], tokenizer, killed, PrepareSettings(shard_bytes=60_000))
    assert progress.found > 0
    assert progress.found < progress.shards or kills > 1
    assert digests(killed) == digests(tmp_path / "whole")


def test_workers_end_with_the_process_that_started_them(
    shared: Path, vocabulary_96k: Path, tmp_path: Path
) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc")
    source = shared / "data" / "pretrain" / "science.jsonl.xz"
    run = start(tmp_path / "run.py", vocabulary_96k, source, tmp_path / "out", 2)
    assert run.stdout is not None
    run.stdout.readline()
    workers = _children(run.pid)
    assert len(workers) >= 2
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + 10
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, workers))


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_seen_texts() -> None:
    seen = Seen()
    assert all(seen.add(f"text {number}") for number in range(20_000))
    assert not any(seen.add(f"text {number}") for number in range(20_000))
    assert len(seen) == 20_000
    assert len(seen._table) * 8 < 22 * 20_000
    assert seen.add("\ud800")


# --- learning from shards
# ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def news(tmp_path_factory: pytest.TempPathFactory, shared: Path, vocabulary_96k: Path) -> Path:
    """A prepared corpus of real news."""
    from pegasus import PegasusTokenizerFast

    folder = tmp_path_factory.mktemp("news")
    tokenizer = PegasusTokenizerFast.from_pretrained(str(vocabulary_96k))
    source = shared / "data" / "pretrain" / "news.jsonl.xz"
    prepare([source], tokenizer, folder, PrepareSettings(shard_bytes=300_000))
    return folder


def test_an_example_from_shards_is_the_example_from_text(
    news: Path, shared: Path, vocabulary_96k: Path
) -> None:
    from pegasus import PegasusTokenizerFast

    tokenizer = PegasusTokenizerFast.from_pretrained(str(vocabulary_96k))
    settings = PretrainingSettings(GapSettings(ratio=(0.15, 0.45), noise=0.2))
    source = ShardSource(news, settings, seed=3)
    documents = list(itertools.islice(read_documents([shared / "data" / "pretrain" / "news.jsonl.xz"]), 20))
    for index in (0, 7, 19):
        rng = np.random.default_rng([3, 5, index])
        made = text_example(documents[index].text, tokenizer, settings, rng, symbols=source.symbols)[1]
        found = source.example(index, 5)
        assert made.example is not None
        assert found.input_ids is not None
        assert found.input_ids.tolist() == made.example.input_ids.tolist()  # type: ignore[union-attr]
        assert found.labels.tolist() == made.example.labels.tolist()
        assert source.example(index, 6).labels.tolist() != found.labels.tolist()


def test_batches_from_shards_are_full_and_the_same_again(news: Path) -> None:
    settings = PretrainingSettings(
        GapSettings(ratio=(0.15, 0.45), noise=0.2), max_input=256, max_target=128
    )
    source = ShardSource(news, settings, limit=200)
    loader = Loader(source, 4, update_rows=8)
    batches = [next(loader) for _ in range(60)]
    assert np.mean([padding_share(batch) for batch in batches]) < 0.1
    again = Loader(source, 4, update_rows=8)
    for batch in batches[:9]:
        assert all((next_[name] == batch[name]).all() for next_ in [next(again)] for name in batch)
    state = again.state()
    loader.restore(state)
    assert (next(loader)["labels"] == batches[9]["labels"]).all()


def test_a_strategy_that_the_shards_have_no_scores_for_is_refused(news: Path) -> None:
    for strategy, message in (("seq-orig", "--strategy seq-orig"), ("continuous-orig", "words")):
        with pytest.raises(BadSetting, match=message):
            ShardSource(news, PretrainingSettings(GapSettings(strategy)))
    assert len(ShardSource(news, PretrainingSettings(GapSettings("random")))) == 282
