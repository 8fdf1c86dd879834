"""Every storage that studies are kept in holds one contract; a broken one is told what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
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
