"""Everything cpmodel raises or warns on purpose. Imports nothing."""

from __future__ import annotations


class CpmodelError(Exception):
    """Base of every error that cpmodel raises on purpose; its message is one line meant for the user."""


class BadInputError(CpmodelError, ValueError):
    """Something given by the user cannot be used; the message says what, where, what was expected, what came.

    Parameters
    ----------
    what : str
        The thing that is wrong, e.g. ``"column 'precision', row 7"``.
    expected : str
        What would have been right; left out of the message when empty.
    got : object
        What came instead; left out of the message when None.
    where : str
        File, option or table it came from; left out of the message when empty.

    Examples
    --------
    >>> print(BadInputError("target", expected="a fraction in (0, 1]", got=1.7, where="--target"))
    --target: target: expected a fraction in (0, 1], got 1.7
    """

    def __init__(self, what: str, *, expected: str = "", got: object = None, where: str = "") -> None:
        clauses = [f"expected {expected}"] if expected else []
        if got is not None:
            clauses.append(f"got {got}")
        head = ": ".join(part for part in (where, what) if part)
        message = head + (": " + ", ".join(clauses) if clauses else "")
        # one line always, and printable: what the user gave may hold line breaks or half characters
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


class DatasetError(BadInputError):
    """Images that cannot be loaded: missing, corrupt, unsafe, or not reachable without a network."""


class StudyError(BadInputError):
    """A study that cannot be opened, or that does not fit what is asked of it."""


class FitError(CpmodelError, ValueError):
    """A model cannot be fitted to the data at hand."""


class TrainingFailedError(CpmodelError):
    """One training could not be finished; the reason becomes part of its failed sample."""


class MemoryExhaustedError(TrainingFailedError):
    """A training needs more memory than there was."""


class CpmodelWarning(UserWarning):
    """Base of every warning that cpmodel gives."""


class FitWarning(CpmodelWarning):
    """The data cannot fully support the fit (too few samples, a coefficient at its bound, no convergence)."""


class DataWarning(CpmodelWarning):
    """Data were used, but something about them should be known (images resized, rows left out, ...)."""
