"""Files that are either whole or not there: write to a temporary name beside the target, then rename."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpmodel.errors import BadInputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` only if the block succeeds.

    A link stays a link, to the new file. A device or a pipe stays what it is, and gets the bytes in the end.
    """
    target = Path(path)
    special = target.exists() and not target.is_file()
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if special:
            handle, name = tempfile.mkstemp(target.suffix)
        else:
            target = target.resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(target.suffix, f".{target.name}.", target.parent)
    except OSError as error:
        raise BadInputError(f"cannot write: {error.strerror}", where=str(path)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        # mkstemp makes private files; a result is as readable as any other file of the user
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if special:
            with temporary.open("rb") as written, target.open("wb") as out:
                shutil.copyfileobj(written, out)
        else:
            temporary.replace(target)
    except OSError as error:
        raise BadInputError(f"cannot write: {error.strerror or error}", where=str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON that a person can read; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file as texts without outer blanks."""

    header: tuple[str, ...]  # each name once, but that columns without a name may be several
    rows: list[list[str]]  # as many cells each as the header has
    lines: list[int]  # the line that each row ends on, as an editor counts them


def read_table(path: str | Path, of: str) -> Table:
    """A CSV file with a header and rows `of` something; gzipped where its name ends in ``.gz``."""
    place, where = Path(path), str(path)
    how: dict[str, Any] = {"mode": "rt", "newline": "", "encoding": "utf-8-sig"}
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        # not through pandas: it shifts the columns of rows that are too long, rounds and miscounts lines
        with gzip.open(place, **how) if place.suffix == ".gz" else place.open(**how) as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            header = tuple(name.strip() for name in next((cells for cells in reader if cells), []))
            if not any(header):
                raise BadInputError("empty file", expected=f"a header and rows of {of}", where=where)
            if len(header) == 1 and ";" in header[0]:
                wanted = "commas between its cells"
                raise BadInputError("not a CSV table", expected=wanted, got="semicolons", where=where)
            for name in header:
                if name and header.count(name) > 1:
                    raise BadInputError(f"column '{name}'", expected="it once", got="twice", where=where)
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    line, wanted = f"line {reader.line_num}", f"{len(header)} cells as in the header"
                    raise BadInputError(line, expected=wanted, got=len(cells), where=where)
                rows.append([cell.strip() for cell in cells])
                lines.append(reader.line_num)
    except OSError as error:
        raise BadInputError(f"cannot read: {error.strerror or error}", where=where) from error
    except (EOFError, zlib.error) as error:
        raise BadInputError(f"cannot read: not a whole gzip file: {error}", where=where) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInputError(f"not a CSV table: {error}", where=where) from error
    return Table(header, rows, lines)


def read_json(path: str | Path) -> Any:
    """What the JSON file holds."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"cannot read: {error.strerror}", where=str(path)) from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInputError(f"not JSON: {error}", where=str(path)) from error
