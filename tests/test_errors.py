from __future__ import annotations

import pytest

from cpmodel.errors import BadInputError, StudyError, hidden


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:SECRET@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql+psycopg2://me:SECRET@host/db", "postgresql+psycopg2://me:***@host/db"),
        ("mysql://me:SE/CR@ET@host/db", "mysql://me:***@host/db"),
        ("postgresql://me:SEC RET@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:SECRET@host/db", "postgresql://:***@host/db"),
        ("redis://:SECRET@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql://me@host/db?password=SECRET&x=1", "postgresql://me@host/db?password=***&x=1"),
        ("mssql+pyodbc://host/db?UID=me&PWD=SECRET;x=1", "mssql+pyodbc://host/db?UID=me&PWD=***;x=1"),
        ("mysql://me@h/d?ssl_token=SECRET", "mysql://me@h/d?ssl_token=***"),
        # what no library can read
        ("postgresql:/me:SECRET@host/db", "postgresql:/me:***@host/db"),
        ("postgresql//me:SECRET@host/db", "postgresql//me:***@host/db"),
        ("postgres:me:SECRET@host", "postgres:me:***@host"),
        ("postgresql://me:SECRET@host:port/db", "postgresql://me:***@host:port/db"),
        ("postgresql://me:SECRET@", "postgresql://me:***@"),
        ("host=db user=me password='SEC RET' port=1", "host=db user=me password=*** port=1"),
        # commands and sentences
        (
            "cpmodel report --storage 'postgresql://me:SECRET@host/db' --out x.html",
            "cpmodel report --storage 'postgresql://me:***@host/db' --out x.html",
        ),
        (
            "cannot reach postgresql://me:SECRET@host/db, asked by a@b",
            "cannot reach postgresql://me:***@host/db, asked by a@b",
        ),
        # nothing to hide
        ("sqlite:////home/me:you/at@home/study.db", None),
        ("postgresql://me@host:5432/db", None),
        ("npz:/data/me@home/a.npz", None),
        ("folder:photos: expected images, got none", None),
        ("precision 0.9: password authentication failed", None),
        ("f=64,s=28,k=5,l=3", None),
    ],
)
def test_secrets_are_hidden(text: str, shown: str | None) -> None:
    assert hidden(text) == (text if shown is None else shown)
    assert "SECRET" not in hidden(text)


def test_errors_hide_secrets_wherever_they_stand() -> None:
    url = "postgresql://me:SECRET@host/db"
    for error in (
        BadInputError(f"cannot use {url}"),
        StudyError("no study", where=url),
        StudyError("storage", expected=f"not {url}", got=url),
    ):
        assert "SECRET" not in str(error) + repr(error)
        assert "me:***@host/db" in str(error)
        assert "\n" not in str(error)
