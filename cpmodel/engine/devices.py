"""The devices that train, and how much memory they have for it; torch is loaded only to ask for a GPU."""

from __future__ import annotations

import ctypes
import re
from contextlib import suppress
from typing import NamedTuple

from cpmodel.errors import BadInputError

SHARE = 0.9  # of a GPU's memory that estimates may fill: they leave out what libraries take for themselves
STORED_BYTES = 24  # of one output of a layer, one image: itself, its norm, pooling indices, gradients
WEIGHT_BYTES = 32  # of one weight: itself, its gradient, the optimiser's state and what it computes with
LIBRARY_BYTES = 256 << 20  # workspaces of one training


class Memory(NamedTuple):
    """Of one GPU, bytes: what no process has, what this process has taken, and what of that is in use."""

    free: int
    reserved: int
    allocated: int


def training_devices(name: str | None = None) -> tuple[str, ...]:
    """The devices that a name stands for.

    ``cpu``; ``cuda``, all GPUs; ``cuda:1``, one of them; ``auto`` (also if not given), all GPUs if there are
    any, else the processor.
    """
    name = name or "auto"
    if name == "cpu" or (name == "auto" and not _has_driver()):
        return ("cpu",)
    if not re.fullmatch(r"auto|cuda(:\d+)?", name):
        raise BadInputError("device", expected="cpu, cuda, cuda:0, ... or auto", got=name)
    import torch

    there = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0))
    if name == "auto":
        return there or ("cpu",)
    if not there:
        built = "" if torch.version.cuda or torch.version.hip else "; this torch was built without CUDA"
        raise BadInputError(f"device {name}", expected="a GPU that torch can use", got=f"none{built}")
    if name != "cuda" and name not in there:
        raise BadInputError("device", expected=f"one of {', '.join(there)}", got=name)
    return there if name == "cuda" else (name,)


def prepare(device: str) -> None:
    """Settings of this process under which a GPU gives the same bits again, and float32 is float32.

    Max pooling and the loss need none: with windows that do not overlap, and one label an image, no sum in
    them depends on an order.
    """
    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def memory_of(device: str) -> Memory | None:
    """The memory of a GPU; None of the processor, whose trainings are not bounded by it."""
    if not device.startswith("cuda"):
        return None
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return Memory(free, torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device))


def training_bytes(activations: float, params: float, batch: int) -> int:
    """What one training takes of a GPU's memory, bytes; rather too much than too little, and unmeasured.

    For one image `activations` are the outputs of all layers; evaluations are in pieces that need no more.
    """
    return int(STORED_BYTES * activations * batch + WEIGHT_BYTES * params) + LIBRARY_BYTES


def fits(needed: int, promised: int, memory: Memory) -> bool:
    """Whether one more training that needs so much can start beside those that were promised so much.

    Of 10 bytes 9 may be filled, and 5 are promised, though only 2 of them taken so far:

    >>> fits(4, 5, Memory(6, 4, 2)), fits(5, 5, Memory(6, 4, 2)), fits(4, 5, Memory(6, 4, 6))
    (True, False, False)
    """
    return max(promised, memory.allocated) + needed <= SHARE * (memory.free + memory.reserved)


def broken(error: BaseException) -> bool:
    """Whether an error is one of a GPU after which its process can use it no more, whoever made it.

    >>> broken(RuntimeError("CUDA error: an illegal memory access was encountered")), broken(ValueError("x"))
    (True, False)
    """
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)


def _has_driver() -> bool:
    """Whether the driver of a GPU is installed: so a machine without one is not kept waiting for torch."""
    for library in ("libcuda.so.1", "libamdhip64.so"):
        with suppress(OSError):
            return bool(ctypes.CDLL(library))
    return False
