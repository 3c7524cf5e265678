"""Both sinusoid tables, against transformers' and against numbers worked out from the authors' formula."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pegasus.errors import BadSetting
from pegasus.spec.positions import TABLES, sinusoid_table

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["relu", "gelu", "odd"])
def test_transformers_table(name):
    expected = load_file(GOLDEN / f"model-{name}.expected.safetensors")["positions"]
    config = json.loads((GOLDEN / f"model-{name}.json").read_text())["config"]
    ours = sinusoid_table(config["max_position_embeddings"], config["d_model"])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_authors_table_at_width_8():
    rows = sinusoid_table(2, 8, "authors")
    np.testing.assert_array_equal(rows[0], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_allclose(
        rows[1], [0.841471, 0.046399, 0.002154, 0.000100, 0.540302, 0.998923, 0.999998, 1.0], atol=1e-6
    )
    # The other table is clearly another one: its second sine is sin(0.1).
    assert sinusoid_table(2, 8)[1, 1] == pytest.approx(0.099833, abs=1e-6)


@pytest.mark.parametrize(("position", "cosine"), [(511, 0.987), (1023, 0.947)])
def test_how_far_the_tables_are_apart_at_full_width(position, cosine):
    one, other = (sinusoid_table(1, 1024, table, start=position)[0] for table in TABLES)
    assert one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) == pytest.approx(cosine, abs=5e-4)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("width", [2, 8, 15])
def test_start_is_a_window_into_the_same_table(table, width):
    whole = sinusoid_table(40, width, table)
    np.testing.assert_array_equal(sinusoid_table(7, width, table, start=33), whole[33:])
    assert whole.shape == (40, width)


def test_an_unknown_table_is_refused():
    with pytest.raises(BadSetting, match=r"'learned'.*transformers, authors"):
        sinusoid_table(2, 8, "learned")
