"""Every storage that studies are kept in holds one contract; a broken one is told what is wrong with it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from cpmodel.errors import ContractError
from cpmodel.testing import check_store


def memory() -> Callable[[], BaseStorage]:
    kept = InMemoryStorage()
    return lambda: kept


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of a database of a real server, which runs as its own user where tests run as root."""
    pytest.importorskip("psycopg")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "/").parent]
    as_root = os.geteuid() == 0
    if not (places[-1] / "initdb").exists() or (
        as_root and "postgres" not in {u.pw_name for u in pwd.getpwall()}
    ):
        pytest.skip("PostgreSQL's server is not installed")
    user = {"user": "postgres"} if as_root else {}
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
        if as_root:
            shutil.chown(folder, "postgres")

        def call(program: str, *words: str) -> None:
            command = [places[-1] / program, "-D", f"{folder}/data", *words]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)

        call("initdb", "-A", "trust", "-U", "me")
        free.close()
        call("pg_ctl", "-o", f"-p {port} -k {folder}", "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://me@localhost:{port}/postgres"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")


def test_a_server_holds_it(postgresql: str) -> None:
    check_store(lambda: postgresql)


def test_a_file_holds_it(tmp_path: Path) -> None:
    check_store(lambda: f"sqlite:///{tmp_path / 'record.db'}")


def test_a_storage_object_holds_it(tmp_path: Path) -> None:
    check_store(lambda: RDBStorage(f"sqlite:///{tmp_path / 'record.db'}"))


def test_a_journal_holds_it(tmp_path: Path) -> None:
    check_store(lambda: JournalStorage(JournalFileBackend(str(tmp_path / "journal.log"))))


def test_memory_holds_it() -> None:
    check_store(memory())


class Forgetful(InMemoryStorage):
    """A storage in memory with one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        if self.fault == "notes" and key == "cpmodel:check":
            value = {}
        super().set_study_user_attr(study_id, key, value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if self.fault == "samples" and key == "cpmodel:sample":
            return
        if self.fault == "attempts" and key == "cpmodel:attempts":
            return
        if self.fault == "numbers" and key == "cpmodel:sample":
            value = {**value, "train_s": round(value["train_s"])}
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        if self.fault == "claims" and state == TrialState.RUNNING:
            return True
        if self.fault == "crash" and state == TrialState.COMPLETE:
            raise OSError("disk full")
        return super().set_trial_state_values(trial_id, state, values)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("notes", "storage Forgetful: note: it comes back as another one"),
        ("samples", "storage Forgetful: samples: they come back as others, or in another order"),
        ("numbers", "storage Forgetful: samples: they come back as others"),
        ("attempts", "storage Forgetful: release: the failed attempt is not counted"),
        ("claims", "storage Forgetful: claim: "),
        ("crash", "storage Forgetful: OSError: disk full"),
    ],
)
def test_what_is_wrong_is_said(fault: str, message: str) -> None:
    broken = Forgetful(fault)
    with pytest.raises(ContractError) as caught:
        check_store(lambda: broken)
    assert str(caught.value).startswith(message)


def test_a_storage_that_forgets_between_connections() -> None:
    with pytest.raises(ContractError, match=r"InMemoryStorage: StudyError: .*no study of that name"):
        check_store(InMemoryStorage)
