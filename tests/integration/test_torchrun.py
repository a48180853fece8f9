"""Several processes under torchrun train the model that one process trains."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def printed_by(*words: str) -> list[dict[str, Any]]:
    """The JSON objects that the processes print; the CPU alone, so that they talk by gloo."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(found) for found in re.findall(r"\{.*?\}", done.stdout)]


@pytest.mark.parametrize("module", ["tests.sequential_on_a_ring", "tests.two_tower_on_two_tastes"])
def test_two_gloo_processes_give_one_process_s_loss(module: str) -> None:
    (one,) = printed_by("-m", module)
    both = printed_by(*TORCHRUN, "-m", module)
    assert sorted(process["rank"] for process in both) == ["0", "1"]
    for process in both:
        assert process["loss"] == pytest.approx(one["loss"], rel=1e-3)
        np.testing.assert_allclose(process["scores"], one["scores"], rtol=1e-2)
    assert both[0]["scores"] == both[1]["scores"]
