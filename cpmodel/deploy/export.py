"""A verified network as files that others run: ONNX, a state dict, and a note on how to preprocess."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch

from cpmodel.codec import dump
from cpmodel.files import replacing, write_json
from cpmodel.formats.onnx import write_onnx
from cpmodel.metrics import get_metric
from cpmodel.pipeline.project import Project
from cpmodel.records.sample import Request
from cpmodel.training.trainer import Trainer
from cpmodel.verify import Verdict


@dataclass(frozen=True)
class Exported:
    """The files of one exported network; `onnx` is None where onnx and onnxscript are not installed."""

    state_dict: Path
    onnx: Path | None
    note: Path


def export(project: Project, verdict: Verdict, folder: str | Path | None = None) -> Exported:
    """Write the verified network, of its fresh seeds the one best on validation.

    It goes to ``export`` in the study's folder unless another is given.
    """
    settings = project.study.settings
    metric = get_metric(settings.metric)
    trainer = Trainer(project.images(), project.family, settings.recipe, metric=metric)
    weights = project.study.weights_of(Request(verdict.configuration, verdict.exported_seed))
    configuration = settings.space.network(verdict.configuration)
    network = trainer.restore(configuration, weights)
    place = Path(folder) if folder is not None else project.folder / "export"
    name = verdict.key.replace("=", "").replace(",", "_")
    height, width = project.family.input_size(configuration, project.task)
    shape = (project.task.channels, height, width)
    installed = all(importlib.util.find_spec(package) for package in ("onnx", "onnxscript"))
    onnx = place / f"{name}.onnx" if installed else None
    if onnx is not None:
        with replacing(onnx) as temporary:
            write_onnx(network, shape, temporary)
    state_dict = place / f"{name}.pt"
    with replacing(state_dict) as temporary:
        torch.save(network.state_dict(), temporary)
    index = verdict.seeds.index(verdict.exported_seed)
    note = place / f"{name}.json"
    write_json(
        note,
        {
            "family": settings.family,
            "configuration": dict(verdict.configuration),
            "input": {
                "layout": "NCHW",
                "shape": ["batch", *shape],
                "channels": "gray" if shape[0] == 1 else "RGB",
                "dtype": "float32",
                "steps": [
                    f"resize to {height} x {width} (height x width), bilinear, antialiased, "
                    "rounded to whole numbers from 0 to 255",
                    "divide by 255",
                    "subtract mean and divide by std, for each channel",
                ],
                "mean": list(trainer.mean),
                "std": list(trainer.std),
            },
            "output": {"meaning": "logits, the largest is the class", "classes": list(settings.class_names)},
            "precision": {
                "metric": metric.name,
                "meaning": metric.label,
                "validation": metric.shown(verdict.validation[index]),
                "test": metric.shown(verdict.test[index]),
                "seed": verdict.exported_seed,
                "mean_test_over_seeds": metric.shown(verdict.interval.mean),
                "interval": sorted(map(metric.shown, (verdict.interval.low, verdict.interval.high))),
                "level": verdict.interval.level,
            },
            "verdict": verdict.status,
            "target": metric.shown(verdict.target),
            "recipe": dump(settings.recipe_for(verdict.configuration)),
            "data": settings.data,
        },
    )
    return Exported(state_dict, onnx, note)
