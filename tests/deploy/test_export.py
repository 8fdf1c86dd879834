"""What is exported: the same network for onnxruntime and for torch, with all that is needed to use it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional as F

import cpmodel
from cpmodel.deploy.export import Exported, export
from cpmodel.errors import BadInputError, StudyError
from cpmodel.families import Task, get_family
from cpmodel.formats.onnx import write_onnx
from cpmodel.pipeline.answer import ANSWER, Answer, keep, last_answer
from cpmodel.pipeline.project import Project, reopen


@pytest.fixture(scope="module")
def project(small_study: Path) -> Project:
    return reopen(small_study)


@pytest.fixture(scope="module")
def answer(project: Project) -> Answer:
    found = last_answer(project)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def files(project: Project, answer: Answer, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The exported network; whatever the export says on its way is an error."""
    folder = tmp_path_factory.mktemp("exported")
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("error")
            exported = export(project, answer.verdict, folder)
    finally:
        logging.getLogger().removeHandler(handler)
    assert said.getvalue() == ""
    return exported


def preprocessed(images: np.ndarray, note: dict) -> np.ndarray:
    """What the note says, step by step; images of shape (n, h, w, c), bytes."""
    _, channels, height, width = note["input"]["shape"]
    assert images.shape[-1] == channels
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    resized = F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)
    scaled = resized.round().clamp(0, 255).numpy() / 255
    mean, std = (np.array(note["input"][name]).reshape(1, -1, 1, 1) for name in ("mean", "std"))
    return ((scaled - mean) / std).astype(np.float32)


def logits(path: Path, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(["logits"], {"images": batch})
    return np.asarray(result)


def test_three_files_and_nothing_else(files: Exported) -> None:
    assert files.onnx is not None
    assert sorted(p.name for p in files.note.parent.iterdir()) == [
        "f8_s8_k2_l1.json",
        "f8_s8_k2_l1.onnx",
        "f8_s8_k2_l1.pt",
    ]


def test_both_files_hold_the_network_of_the_note(project: Project, answer: Answer, files: Exported) -> None:
    note = json.loads(files.note.read_text())
    assert note["configuration"] == {"f": 8, "s": 8, "k": 2, "l": 1}
    network = project.family.build(note["configuration"], project.task)
    network.load_state_dict(torch.load(files.state_dict, weights_only=True))
    network.eval()
    test = project.images().test
    batch = preprocessed(test.images, note)
    assert files.onnx is not None
    for size in (1, 7, len(batch)):
        ours = network(torch.from_numpy(batch[:size])).detach().numpy()
        np.testing.assert_allclose(logits(files.onnx, batch[:size]), ours, rtol=1e-4, atol=1e-4)
    # its precision on the test split is that of the seed it is said to be
    right = (logits(files.onnx, batch).argmax(axis=1) == test.labels).mean()
    assert answer.verdict is not None
    index = answer.verdict.seeds.index(answer.verdict.exported_seed)
    assert (note["precision"]["metric"], note["precision"]["seed"]) == (
        "accuracy",
        answer.verdict.exported_seed,
    )
    assert note["precision"]["test"] == pytest.approx(right) == pytest.approx(answer.verdict.test[index])
    assert note["precision"]["validation"] == max(answer.verdict.validation)
    assert note["output"]["classes"] == ["0", "1", "2"]
    assert (note["verdict"], note["target"]) == ("reached", 0.5)


@pytest.mark.parametrize(
    ("channels", "configuration"),
    [(1, {"f": 4, "s": 13, "k": 4, "l": 2}), (3, {"f": 3, "s": 12, "k": 5, "l": 3})],
)
def test_onnx_of_other_networks(channels: int, configuration: dict, tmp_path: Path) -> None:
    family, task = get_family("plain"), Task(28, 28, channels, 10)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = family.build(configuration, task).eval()
        shape = (channels, *family.input_size(configuration, task))
        images = torch.randn(7, *shape)
    path = tmp_path / "network.onnx"
    write_onnx(network, shape, path)
    assert list(tmp_path.iterdir()) == [path]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == ["images"]
    assert not any(t.external_data for t in model.graph.initializer)
    for size in (1, 7):
        ours = network(images[:size]).detach().numpy()
        np.testing.assert_allclose(logits(path, images[:size].numpy()), ours, rtol=1e-4, atol=1e-5)


def test_without_onnx_the_rest_is_written(
    project: Project, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    files = export(project, answer.verdict, tmp_path)
    assert files.onnx is None
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".pt"]


def test_a_broken_installation_is_named(
    project: Project, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")

    monkeypatch.setattr(torch.onnx, "export", missing)
    with pytest.raises(BadInputError, match=r"ONNX export needs onnxscript: .* 'cpmodel\[onnx\]'"):
        export(project, answer.verdict, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_verified(small_study: Path, tmp_path: Path) -> None:
    study = Path(shutil.copytree(small_study, tmp_path / "study"))
    (study / "choice.json").unlink()
    reopen(study).study.keep("openings", [])
    with pytest.raises(StudyError, match="nothing is verified yet: expected cpmodel verify first"):
        cpmodel.open(study).export(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_proof_outlives_a_later_failure(small_study: Path, answer: Answer, tmp_path: Path) -> None:
    study = Path(shutil.copytree(small_study, tmp_path / "study"))
    keep(study / ANSWER, replace(answer, verdict=None, status="not proved"))
    assert answer.verdict is not None
    assert json.loads(cpmodel.open(study).export(tmp_path / "new").note.read_text())["configuration"] == dict(
        answer.verdict.configuration
    )


def test_weights_that_are_gone_or_spoiled(small_study: Path, answer: Answer, tmp_path: Path) -> None:
    study = Path(shutil.copytree(small_study, tmp_path / "study"))
    for path in (study / "weights").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInputError, match="weights"):
        export(reopen(study), answer.verdict, tmp_path / "new")
    shutil.rmtree(study / "weights")
    with pytest.raises(BadInputError, match="weights"):
        export(reopen(study), answer.verdict, tmp_path / "new")
    assert not (tmp_path / "new").exists()
