"""A network as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cpmodel.errors import BadInputError

OPSET = 18


def write_onnx(network: nn.Module, shape: tuple[int, int, int], path: Path) -> None:
    """One file, weights inside, any batch size."""
    example: Any = torch.zeros(2, *shape)
    silent = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter tells of packages that it does not need
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network.eval(),
                (example,),
                path,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except ImportError as error:
        what = f"ONNX export needs {error.name}"
        raise BadInputError(what, expected="pip install 'cpmodel[onnx]'") from error
    finally:
        logging.disable(silent)
