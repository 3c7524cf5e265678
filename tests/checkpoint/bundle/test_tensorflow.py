"""TensorFlow itself beside our reader and writer."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pegasus.checkpoint.authors import Wishes
from pegasus.checkpoint.bundle.reading import read_bundle
from pegasus.checkpoint.conversion import Conversion, open_source

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "authors-model"
#: Writes each variable's bytes, and a checkpoint of two files with variables of all types.
SCRIPT = """
import sys, numpy as np, tensorflow as tf
reader = tf.train.load_checkpoint(sys.argv[1])
found = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
np.savez(sys.argv[2], **found)
tf1 = tf.compat.v1
tf1.disable_eager_execution()
kinds = ("float32", "float64", "float16", "bfloat16", "int32", "int64", "int8", "uint8", "bool")
variables = [tf1.Variable(tf.cast([[0, 1, 2], [3, 4, 5]], kind), name="kinds/" + kind) for kind in kinds]
variables += [tf1.Variable(tf.zeros([0, 3]), name="empty"), tf1.Variable(7.5, name="alone")]
with tf1.Session() as session:
    session.run(tf1.global_variables_initializer())
    tf1.train.Saver(variables, sharded=True).save(session, sys.argv[3] + "/kinds")
"""
#: Compares two checkpoints as TensorFlow reads them, a variable at a time.
COMPARE = """
import sys, tensorflow as tf
ours, theirs = (tf.train.load_checkpoint(path) for path in sys.argv[1:3])
names = [name for name in ours.get_variable_to_shape_map() if name != "global_step"]
for name in names:
    one, other = ours.get_tensor(name), theirs.get_tensor(name)
    assert (one.dtype, one.shape) == (other.dtype, other.shape), name
    assert one.tobytes() == other.tobytes(), name
assert ours.get_tensor("global_step") == 0
print(len(names))
"""
#: ``pegasus convert``, and the most memory that it took beyond what it takes to do nothing.
CONVERT = """
import re, sys
import pegasus.checkpoint.conversion
from pegasus.cli.app import main
def most():  # of this program alone; what getrusage says is at least what its parent had
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = most()
assert main(["convert", "--quiet", *sys.argv[1:]]) == 0
print(most() - before)
"""
pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("tensorflow"), reason="TensorFlow is not installed"
)


def run(*arguments: object) -> str:
    """What a process of its own says: TensorFlow takes seconds and much memory."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_reads_what_the_other_wrote(tmp_path):
    Conversion(open_source(GOLDEN, Wishes(heads=2))).write(tmp_path / "ours")
    Conversion(open_source(tmp_path / "ours"), "tf-checkpoint").write(tmp_path / "back")
    run("-c", SCRIPT, tmp_path / "back" / "model.ckpt", tmp_path / "read.npz", tmp_path)
    found, expected = dict(np.load(tmp_path / "read.npz")), read_bundle(GOLDEN / "model.ckpt-7")
    assert found.pop("global_step") == 0
    assert set(found) == {n for n in expected if "Adafactor" not in n} - {"global_step"}
    for name, array in found.items():
        assert array.tobytes() == expected[name].data.tobytes(), name
        assert array.shape == expected[name].shape
    kinds = read_bundle(tmp_path / "kinds")
    for name, tensor in kinds.items():
        if name.startswith("kinds/"):
            assert tensor.shape == (2, 3)
            array = np.arange(6).reshape(2, 3)
            np.testing.assert_array_equal(tensor.array(), array > 0 if name.endswith("bool") else array)
    assert len(kinds) == 11
    assert kinds["alone"].array() == 7.5
    assert kinds["empty"].array().shape == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "tolerance"), [("base", 1e-5), ("large", 1e-5)])
def test_of_real_size(tmp_path, size, tolerance):
    """Converted, run, and back: the logits of the statement, and TensorFlow reads every byte."""
    import torch

    from pegasus import PegasusForConditionalGeneration

    run("scripts/golden-authors", "--size", size, "--into", tmp_path / "theirs")
    theirs = read_bundle(tmp_path / "theirs" / "model.ckpt-7")
    assert theirs["global_step"].array() == 1_500_000
    weights = sum(tensor.nbytes for name, tensor in theirs.items() if "Adafactor" not in name)
    peak = run("-c", CONVERT, tmp_path / "theirs", tmp_path / "ours")
    assert int(peak) < 1.3 * weights
    expected = dict(np.load(tmp_path / "theirs" / "expected.npz"))
    model = PegasusForConditionalGeneration.from_pretrained(tmp_path / "ours")
    target = expected["target"]
    given = {
        "input_ids": torch.from_numpy(expected["source"]),
        "attention_mask": torch.from_numpy(expected["source"] != 0).long(),
        "decoder_input_ids": torch.from_numpy(np.pad(target[:, :-1], ((0, 0), (1, 0)))),
    }
    with torch.no_grad():
        found = model(**given).logits.numpy()
    assert np.abs(expected["logits"]).max() > 1
    np.testing.assert_allclose(found, expected["logits"], atol=tolerance, rtol=0)
    del model
    peak = run("-c", CONVERT, tmp_path / "ours", tmp_path / "back", "--to", "tf-checkpoint")
    assert int(peak) < 1.3 * weights
    same = run("-c", COMPARE, tmp_path / "back" / "model.ckpt", tmp_path / "theirs" / "model.ckpt-7")
    assert int(same) == sum("Adafactor" not in name for name in theirs) - 1
