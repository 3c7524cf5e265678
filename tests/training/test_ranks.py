"""The processes that learn together: how they part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: A model that outlives its group, time after time, while no thread gives Python's lock away by itself.
#: A group that its reducer is the last to hold hangs within some ten rounds.
PARTING = """
import faulthandler, sys
faulthandler.dump_traceback_later(60, exit=True)
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from pegasus.backends.torch.learning.ranks import Group

def learn_and_part():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    group = Group(torch.device("cpu"))
    model = DistributedDataParallel(torch.nn.Linear(4, 4))
    model(torch.ones(2, 4)).sum().backward()
    group.leave()

sys.setswitchinterval(100)
for _ in range(200):
    learn_and_part()
print("parted")
"""


def test_a_model_that_outlives_its_group_does_not_hang():
    ran = subprocess.run(
        [sys.executable, "-c", PARTING],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert ran.stdout.strip() == "parted", ran.stderr[-2000:]
