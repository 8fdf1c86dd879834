"""Where the record of a study is, a file in its folder or any Optuna storage; one line for every error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from cpmodel.errors import CpmodelError, StudyError


def place_of(folder: str | Path, storage: str | BaseStorage | None) -> tuple[Path, str]:
    """The folder, and the URL (or the kind) of the storage that goes with it."""
    place = Path(folder).resolve()
    if storage is not None:
        return place, storage if isinstance(storage, str) else type(storage).__name__
    inside = str(place / "study.db")
    url = URL.create("sqlite", database=inside).render_as_string()
    if make_url(url).database != inside:
        raise StudyError("folder", expected="a path that an SQLite URL can hold", where=str(place))
    return place, url.replace("{", "{{").replace("}", "}}")  # Optuna fills in what stands in single braces


def study_in(backend: BaseStorage, place: Path, storage: str | BaseStorage | None) -> int | None:
    """The study's number: in a storage of many the one named as the folder, in its own the only one."""
    known = {s.study_name: s._study_id for s in backend.get_all_studies()}
    if storage is None and len(known) == 1:  # so a study's folder may be moved and renamed
        return next(iter(known.values()))
    return known.get(place.name)


def file_there(url: str) -> bool:
    """Whether the file of an SQLite URL exists; True for storages that are no file."""
    if not url.startswith("sqlite"):
        return True
    with readable(url):
        name = make_url(url.replace("{{", "{").replace("}}", "}")).database
    return not name or name == ":memory:" or name.startswith("file:") or Path(name).exists()


def backend_of(storage: str | BaseStorage) -> BaseStorage:
    """The storage itself, connected."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not isinstance(storage, str):
        return optuna.storages.get_storage(storage)
    with readable(storage):
        if storage.startswith("sqlite"):
            storage = RDBStorage(storage, engine_kwargs={"connect_args": {"timeout": 60}})
        return optuna.storages.get_storage(storage)


@contextmanager
def readable(url: str) -> Iterator[None]:
    """One clear error for whatever a database may say."""
    try:
        yield
    except (CpmodelError, UpdateFinishedTrialError):
        raise
    except ImportError as error:
        expected = "its driver, for PostgreSQL: pip install 'cpmodel[postgresql]'"
        raise StudyError(
            "the database cannot be reached", expected=expected, got="none", where=url
        ) from error
    except (SQLAlchemyError, ValueError, LookupError, RuntimeError) as error:
        said = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
        raise StudyError(f"the study's record cannot be used: {said[0]}", where=url) from error
