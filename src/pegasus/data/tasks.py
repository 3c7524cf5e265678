"""The twelve data sets of the paper: columns, lengths, rates, penalties, and the scores that were
published.

Lengths, rates and steps are those registered in the authors' code; the length penalty and the eight beams
are those stored with the released checkpoints. The batches there were made small for small devices: the
paper's own was 256. Scores are ROUGE-1, -2 and -L (F1, times 100); the last is ROUGE-Lsum for
CNN/DailyMail.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from pegasus.data.columns import Columns
from pegasus.errors import BadSetting

#: ROUGE-1, ROUGE-2 and ROUGE-L.
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Published:
    """ROUGE-1, -2 and -L that were published for a task.

    Attributes:
        c4: PEGASUS large, pre-trained on C4.
        huge_news: the same on HugeNews.
        mixed: the same on both, with stochastic gap sentences: the released checkpoint.
        transformer: a base-sized Transformer without pre-training, from the paper.
        base: PEGASUS base, from the paper.
    """

    c4: Triple
    huge_news: Triple
    mixed: Triple
    transformer: Triple
    base: Triple


@dataclass(frozen=True)
class Task:
    """A data set and how PEGASUS large was fine-tuned on it.

    Attributes:
        name: as in the names of checkpoints.
        hub: where `datasets` finds it: a name, or a name and a configuration with a colon between.
        columns: which hold document and summary there.
        max_input: tokens of a document at most.
        max_target: tokens of a summary at most.
        learning_rate: of the authors' Adafactor, relative to the size of each tensor.
        steps: updates.
        length_penalty: of the search.
        published: scores.
        num_beams: of the search.
        label_smoothing: of the loss.
        note: what makes its scores hard to compare.
    """

    name: str
    hub: str
    columns: Columns
    max_input: int
    max_target: int
    learning_rate: float
    steps: int
    length_penalty: float
    published: Published
    num_beams: int = 8
    label_smoothing: float = 0.1
    note: str = ""


_LIST = [
    Task(
        name="aeslc",
        hub="aeslc",
        columns=Columns("email_body", "subject_line"),
        max_input=512,
        max_target=32,
        learning_rate=1e-4,
        steps=32_000,
        length_penalty=0.6,
        published=Published(
            c4=(37.69, 21.85, 36.84),
            huge_news=(37.40, 21.22, 36.45),
            mixed=(37.68, 21.25, 36.51),
            transformer=(15.04, 7.39, 14.93),
            base=(34.85, 18.94, 34.10),
        ),
    ),
    Task(
        name="arxiv",
        hub="scientific_papers:arxiv",
        columns=Columns("article", "abstract"),
        max_input=1024,
        max_target=256,
        learning_rate=1e-4,
        steps=500_000,
        length_penalty=0.8,
        published=Published(
            c4=(44.70, 17.27, 25.80),
            huge_news=(44.67, 17.18, 25.73),
            mixed=(44.21, 16.95, 25.67),
            transformer=(35.63, 7.95, 20.00),
            base=(34.81, 10.16, 22.50),
        ),
    ),
    Task(
        name="big_patent",
        hub="big_patent:all",
        columns=Columns("description", "abstract"),
        max_input=1024,
        max_target=256,
        learning_rate=1e-4,
        steps=50_000,
        length_penalty=0.7,
        published=Published(
            c4=(53.63, 33.16, 42.25),
            huge_news=(53.41, 32.89, 42.07),
            mixed=(52.29, 33.08, 41.66),
            transformer=(42.98, 20.51, 31.87),
            base=(43.55, 20.43, 31.80),
        ),
        note="mixed was scored on a newer, cased edition of the data",
    ),
    Task(
        name="billsum",
        hub="billsum",
        columns=Columns("text", "summary"),
        max_input=1024,
        max_target=256,
        learning_rate=1e-4,
        steps=180_000,
        length_penalty=0.6,
        published=Published(
            c4=(57.20, 39.56, 45.80),
            huge_news=(57.31, 40.19, 45.82),
            mixed=(59.67, 41.58, 47.59),
            transformer=(44.05, 21.30, 30.98),
            base=(51.42, 29.68, 37.78),
        ),
    ),
    Task(
        name="cnn_dailymail",
        hub="cnn_dailymail:3.0.0",
        columns=Columns("article", "highlights"),
        max_input=1024,
        max_target=128,
        learning_rate=1e-3,
        steps=210_000,
        length_penalty=0.8,
        published=Published(
            c4=(43.90, 21.20, 40.76),
            huge_news=(44.17, 21.47, 41.11),
            mixed=(44.16, 21.56, 41.30),
            transformer=(38.27, 15.03, 35.48),
            base=(41.79, 18.81, 38.93),
        ),
        note="the last score is ROUGE-Lsum",
    ),
    Task(
        name="gigaword",
        hub="gigaword",
        columns=Columns("document", "summary"),
        max_input=128,
        max_target=32,
        learning_rate=1e-4,
        steps=300_000,
        length_penalty=0.6,
        published=Published(
            c4=(38.75, 19.96, 36.14),
            huge_news=(39.12, 19.86, 36.24),
            mixed=(39.65, 20.47, 36.76),
            transformer=(35.70, 16.75, 32.83),
            base=(36.91, 17.66, 34.08),
        ),
    ),
    Task(
        name="multi_news",
        hub="multi_news",
        columns=Columns("document", "summary"),
        max_input=1024,
        max_target=256,
        learning_rate=1e-4,
        steps=60_000,
        length_penalty=0.8,
        published=Published(
            c4=(46.74, 17.95, 24.26),
            huge_news=(47.52, 18.72, 24.91),
            mixed=(47.65, 18.75, 24.95),
            transformer=(34.36, 5.42, 15.75),
            base=(42.24, 13.27, 21.44),
        ),
    ),
    Task(
        name="newsroom",
        hub="newsroom",
        columns=Columns("text", "summary"),
        max_input=1024,
        max_target=128,
        learning_rate=1e-3,
        steps=190_000,
        length_penalty=0.8,
        published=Published(
            c4=(45.07, 33.39, 41.28),
            huge_news=(45.15, 33.51, 41.33),
            mixed=(45.98, 34.20, 42.18),
            transformer=(40.28, 27.93, 36.52),
            base=(42.38, 30.06, 38.52),
        ),
    ),
    Task(
        name="pubmed",
        hub="scientific_papers:pubmed",
        columns=Columns("article", "abstract"),
        max_input=1024,
        max_target=256,
        learning_rate=1e-4,
        steps=500_000,
        length_penalty=0.8,
        published=Published(
            c4=(45.49, 19.90, 27.69),
            huge_news=(45.09, 19.56, 27.42),
            mixed=(45.97, 20.15, 28.25),
            transformer=(33.94, 7.43, 19.02),
            base=(39.98, 15.15, 25.23),
        ),
    ),
    Task(
        name="reddit_tifu",
        hub="reddit_tifu:long",
        columns=Columns("documents", "tldr"),
        max_input=1024,
        max_target=128,
        learning_rate=1e-4,
        steps=8_000,
        length_penalty=0.6,
        published=Published(
            c4=(26.54, 8.94, 21.64),
            huge_news=(26.63, 9.01, 21.60),
            mixed=(27.99, 9.81, 22.94),
            transformer=(15.89, 1.94, 12.22),
            base=(24.36, 6.09, 18.75),
        ),
        note="the authors cut 80/10/10 out of the one split by percent slices",
    ),
    Task(
        name="wikihow",
        hub="wikihow:all",
        columns=Columns("text", "headline"),
        max_input=1024,
        max_target=256,
        learning_rate=1e-4,
        steps=180_000,
        length_penalty=0.6,
        published=Published(
            c4=(43.07, 19.70, 34.79),
            huge_news=(41.35, 18.51, 33.42),
            mixed=(46.39, 22.12, 38.41),
            transformer=(32.48, 10.53, 23.86),
            base=(36.58, 15.64, 30.01),
        ),
        note="mixed was scored with a vocabulary that keeps line breaks",
    ),
    Task(
        name="xsum",
        hub="xsum",
        columns=Columns("document", "summary"),
        max_input=1024,
        max_target=64,
        learning_rate=1e-4,
        steps=30_000,
        length_penalty=0.8,
        published=Published(
            c4=(45.20, 22.06, 36.99),
            huge_news=(47.21, 24.56, 39.25),
            mixed=(47.60, 24.83, 39.64),
            transformer=(30.83, 10.83, 24.41),
            base=(39.79, 16.58, 31.70),
        ),
    ),
]
#: Task by name.
TASKS = {task.name: task for task in _LIST}


def find_task(name: str) -> Task:
    """Return the task of that name; `-` and `_` are the same.

    Raises:
        BadSetting: there is none; the nearest one is named.
    """
    known = TASKS.get(name.lower().replace("-", "_"))
    if known is None:
        near = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(TASKS)}."
        raise BadSetting(f"No task is named {name!r}: {hint}")
    return known
