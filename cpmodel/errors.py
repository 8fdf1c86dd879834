"""Everything cpmodel raises or warns on purpose, with secrets hidden. Imports nothing of cpmodel."""

from __future__ import annotations

import re

# the user's part of a database's URL, though its slashes may be missing, up to the colon before the password
_LOGIN = r"""(?i:[a-z][\w+.-]*://|\b(?:postgres|mysql|mariadb|oracle|mssql|cockroachdb|redis)[\w+]*+:?+/*+)[^\s:/@'"]*:"""
_SECRETS = (
    # all up to the last @ of the word; else a password with blanks in it, up to the next @
    re.compile(rf"(?P<before>{_LOGIN})(?:\S*(?=@)|[^@\n]*(?=@))"),
    # what an option of a URL, or of a connection's text, says
    re.compile(
        r"""(?P<before>(?i:(?<![a-z])\w*(?:passwo?r?d|pwd|secret|token|api_?key)\w*\s*=\s*))"""
        r"""(?:'[^']*'|"[^"]*"|[^\s&;'"]+)"""
    ),
)


def hidden(text: str) -> str:
    """`text`, a storage's URL or a sentence or command with one, without its passwords.

    >>> hidden("postgresql://me:SECRET@host/studies?sslpassword=SECRET")
    'postgresql://me:***@host/studies?sslpassword=***'
    """
    for pattern in _SECRETS:
        text = pattern.sub(r"\g<before>***", text)
    return text


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
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in hidden(message)))


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


class ContractError(CpmodelError, AssertionError):
    """A plug-in breaks the contract of its kind; the message says which plug-in, and where."""


class CpmodelWarning(UserWarning):
    """Base of every warning that cpmodel gives."""


class FitWarning(CpmodelWarning):
    """The data cannot fully support the fit (too few samples, a coefficient at its bound, no convergence)."""
