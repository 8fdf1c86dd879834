"""The networks of ``examples/``: counted and trained through the command line, as their users would."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from running import Command
from small_images import make_images

EXAMPLES = Path(__file__).parents[2] / "examples"
# where scripts/test puts what is not part of the environment
VISION = Path(sys.prefix) / "vision"
# Beside a torch that it was not built for torchvision is imported only where its operators are declared
DECLARED = """
import torch
try:
    import torchvision
except RuntimeError:
    import sys
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    declared = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
CASES = {
    "own_network": ("", ["--width", "2,4", "--depth", "1,2"]),
    "torchvision_shufflenet": ("torchvision", ["--width", "2,4", "--repeats", "1", "--size", "32"]),
    "timm_resnet": ("timm", ["--width", "8,16", "--blocks", "1", "--size", "32"]),
}


@pytest.mark.parametrize("example", CASES)
def test_an_example_is_counted_and_trained(example: str, cpmodel: Command, tmp_path: Path) -> None:
    needed, values = CASES[example]
    if needed and not (VISION / needed).exists() and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    images = make_images(tmp_path / "images.npz")
    text = (EXAMPLES / f"{example}.py").read_text()
    (tmp_path / "net.py").write_text(
        text.replace("from typing", DECLARED + "\nfrom typing", 1) if needed else text
    )
    made = ["--dataset", f"npz:{images}", "--family", "net.py:build", *values]
    effort = ["--budget", "1", "-j", "1", "--recipe", "steps=4", "--recipe", "batch_size=16"]
    ended = cpmodel("sample", *made, *effort, cwd=tmp_path, paths=[VISION])
    assert ended.code == 0, ended
    (sample,) = pd.read_csv(tmp_path / "study" / "samples.csv").to_dict("records")
    assert sample["status"] == "complete" and 0 < sample["precision"] <= 1
    counts = json.loads((tmp_path / "study" / "counted.json").read_text())["counts"]
    assert len(counts) == (4 if example == "own_network" else 2)
    assert all(min(count) > 0 for count in counts.values())
