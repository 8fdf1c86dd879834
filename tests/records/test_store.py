"""What a study guarantees: one suite for every storage, then real processes that are really killed."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

import cpmodel.records.store
from cpmodel.codec import dump
from cpmodel.errors import BadInputError, StudyError
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Purpose, Request, Sample, Start, identity
from cpmodel.records.settings import Settings
from cpmodel.records.storage import backend_of
from cpmodel.records.store import DEAD_S, Claim, Store
from cpmodel.space import Condition, Configuration, Parameter, Space

SPACE = Space(
    (
        Parameter("f", (2, 8, 64)),
        Parameter("l", (1, 2)),
        Parameter("pool", ("none", "max"), categorical=True, when=Condition("l", (2,))),
        Parameter("rate", (0.25, 0.5, 1)),
    )
)
SETTINGS = Settings(
    family="plain",
    dataset="made",
    data="0123456789ab",
    test="ba9876543210",
    image_shape=(8, 8, 1),
    class_names=("a", "b"),
    split_sizes={"train": 30, "validation": 20, "test": 10},
    space=SPACE,
    recipe=Recipe(),
)
KEYS = [SPACE.key(c) for c in SPACE.configurations(SPACE.candidates())]

Open = Callable[..., Store]


def asked(*keys: str, seed: int = 0, purpose: Purpose = Purpose.DESIGN) -> list[Request]:
    return [Request(SPACE.parse(key), seed, purpose) for key in keys]


def outcome(study: Store, claim: Claim, precision: float | None = 0.5, **fields: Any) -> Sample:
    s, r = study.settings, claim.request
    status = "complete" if precision is not None else "failed"
    return Sample(
        **{
            "configuration": r.configuration,
            "seed": r.seed,
            "precision": precision,
            "status": status,
            "purpose": r.purpose,
            "family": s.family,
            "data": s.data,
            "recipe": s.recipe.hash,
            **fields,
        }
    )


def finish(study: Store, precision: float | None = 0.5, **fields: Any) -> Claim:
    claim = study.claim()
    assert claim is not None
    study.record(claim, outcome(study, claim, precision, **fields))
    return claim


def key(claim: Claim | Request | None) -> str | None:
    request = claim.request if isinstance(claim, Claim) else claim
    return None if request is None else SPACE.key(request.configuration)


def dead_process() -> dict[str, Any]:
    """The marks of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = psutil.Process(process.pid).create_time()
    process.kill()
    process.communicate()
    return {"pid": process.pid, "born": born, "token": "dead"}


def lines(error: pytest.ExceptionInfo[Exception]) -> int:
    return len(str(error.value).splitlines())


# every storage


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study without requests, to be copied: making the tables takes most of a second."""
    return Store.create(tmp_path_factory.mktemp("begun") / "study", SETTINGS).folder


@pytest.fixture(params=["folder", "journal", "memory"])
def reach(
    request: pytest.FixtureRequest, tmp_path: Path, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> Open:
    """Create or reach the one study of a test; every call is a `Store` of its own, as a process has it."""
    monkeypatch.setattr(cpmodel.records.store, "RACE_S", 0.01)
    memory = InMemoryStorage()
    if request.param == "folder":
        shutil.copytree(begun, tmp_path / "study")

    def storage() -> BaseStorage | None:
        if request.param == "journal":
            return JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
        return memory if request.param == "memory" else None

    def make(settings: Settings = SETTINGS, name: str = "study", *, existing: bool = False) -> Store:
        if existing:
            return Store.open(tmp_path / name, storage())
        return Store.create(tmp_path / name, settings, storage())

    return make


def test_settings_come_back(reach: Open) -> None:
    reach()
    assert reach(existing=True).settings == SETTINGS
    assert dump(reach(existing=True).settings) == json.loads(json.dumps(dump(SETTINGS)))


def test_requests_come_in_order_and_once(reach: Open) -> None:
    study = reach()
    assert study.enqueue(asked(*KEYS[:4], KEYS[1])) == 4
    assert study.enqueue(asked(*KEYS[2:6])) == 2
    assert study.enqueue(asked(KEYS[0], seed=1)) == 1
    assert (
        study.enqueue(asked(KEYS[0], seed=1, purpose=Purpose.VERIFY)) == 0
    )  # why does not make it another one
    assert [key(r) for r in study.open_requests()] == [*KEYS[:6], KEYS[0]]
    claims = [study.claim() for _ in range(8)]
    assert [key(c) for c in claims] == [*KEYS[:6], KEYS[0], None]
    assert claims[0] is not None
    assert claims[0].attempts == 0
    assert len(study.samples()) == 0
    assert len(study.open_requests()) == 7


def test_samples_come_back_as_they_were(reach: Open) -> None:
    study = reach()
    study.enqueue(asked(*KEYS[:5]))
    sent = []
    for number, _ in enumerate(KEYS[:5]):
        claim = study.claim()
        assert claim is not None
        study.progress(claim, 1, 0.25)
        sample = outcome(
            study,
            claim,
            None if number == 3 else 0.1 + number / 70,
            reason="the loss became nan" if number == 3 else "",
            metrics={"top5": 1 / 3, "nll": math.inf},
            curve=(0.25, 0.1 + number / 70),
            train_s=1.5,
            plan="cpu",
        )
        study.record(claim, sample)
        sent.append(sample)
    table = reach(existing=True).samples()
    expected = study.samples().of(SPACE, sent)
    assert table.frame.equals(expected.frame)
    assert table.keys == KEYS[:5]
    assert table.failed == 1
    assert table.frame["reason"][3] == "the loss became nan"
    assert study.open_requests() == []
    assert study.claim() is None
    assert study.enqueue(asked(*KEYS[:5])) == 0, "what is done is not done again, failed or not"


def test_samples_are_in_the_order_of_asking(reach: Open) -> None:
    study = reach()
    study.enqueue(asked(*KEYS[:3]))
    claims = [study.claim() for _ in range(3)]
    for claim in reversed(claims):
        assert claim is not None
        study.record(claim, outcome(study, claim))
    assert study.samples().keys == KEYS[:3]


def test_samples_by_purpose(reach: Open) -> None:
    study = reach()
    study.enqueue([*asked(KEYS[0]), *asked(KEYS[1], purpose=Purpose.VERIFY)])
    finish(study)
    finish(study)
    assert study.samples([Purpose.VERIFY]).keys == [KEYS[1]]
    assert len(study.samples()) == 2


def test_two_at_one_study_never_get_the_same(reach: Open) -> None:
    one, other = reach(), reach()
    one.enqueue(asked(*KEYS[:5]))
    claims = [key(study.claim()) for study in (one, other, one, other, other, one)]
    assert claims == [*KEYS[:5], None]


def test_what_a_dead_process_had_in_hand_is_taken_over(reach: Open) -> None:
    dead, living = reach(), reach()
    dead._me |= dead_process()
    dead.enqueue(asked(*KEYS[:2]))
    assert key(dead.claim()) == KEYS[0]
    assert [key(living.claim()) for _ in range(3)] == [KEYS[0], KEYS[1], None]


def test_what_a_living_process_has_in_hand_is_left_alone(reach: Open) -> None:
    one, other = reach(), reach()
    one.enqueue(asked(KEYS[0]))
    assert one.claim() is not None
    # a process of the same number that was born at another time is another process
    assert other.claim() is None
    one._me["born"] -= 1000
    one.beat([Claim(one._trials()[0]._trial_id, asked(KEYS[0])[0], 0)])
    assert key(other.claim()) == KEYS[0]


def test_processes_of_other_machines_live_as_long_as_they_are_heard(reach: Open) -> None:
    far, here = reach(), reach()
    far._me |= {"host": "far away", "pid": 1}
    far.enqueue(asked(*KEYS[:2]))
    claim = far.claim()
    assert claim is not None
    assert key(here.claim()) == KEYS[1]
    assert here.claim() is None
    silent = {**far._me, "beat": time.time() - DEAD_S - 1}
    far._storage.set_trial_user_attr(claim.trial_id, "cpmodel:worker", silent)
    assert key(here.claim()) == KEYS[0]


def test_a_process_that_only_slept_does_not_record_twice(reach: Open) -> None:
    asleep, awake = reach(), reach()
    asleep._me |= dead_process()
    asleep.enqueue(asked(KEYS[0]))
    old = asleep.claim()
    finish(awake, 0.9)
    assert old is not None
    asleep.beat([old])
    asleep.progress(old, 1, 0.1)
    asleep.record(old, outcome(asleep, old, 0.8))
    asleep.release(old, failed_attempt=True)
    assert reach(existing=True).samples().precision.tolist() == [0.9]
    assert awake.claim() is None


def test_a_released_training_is_claimed_again(reach: Open) -> None:
    study = reach()
    study.enqueue(asked(*KEYS[:2]))
    claim = study.claim()
    assert claim is not None
    study.release(claim)
    again = study.claim()
    assert again is not None
    assert (key(again), again.attempts) == (KEYS[0], 0)
    study.release(again, failed_attempt=True)
    third = reach().claim()
    assert third is not None
    assert (key(third), third.attempts) == (KEYS[0], 1)


def test_a_record_cut_off_before_its_end_counts(reach: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    study = reach()
    study.enqueue(asked(*KEYS[:2]))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_finish", lambda *_: None)
        claim = finish(study, 0.75)
    other = reach(existing=True)
    assert other.samples().precision.tolist() == [0.75]
    assert [key(r) for r in other.open_requests()] == [KEYS[1]]
    assert key(other.claim()) == KEYS[1]
    assert other._storage.get_trial(claim.trial_id).value == 0.75


def test_two_records_at_once_leave_one(reach: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process sees a sample whose trial is still open, and closes it before its own process does."""
    study, other = reach(), reach()
    study.enqueue(asked(KEYS[0]))
    original = Store._finish

    def slow(self: Store, trial_id: int, sample: Sample) -> None:
        if self is study:
            assert other.claim() is None
        original(self, trial_id, sample)

    monkeypatch.setattr(Store, "_finish", slow)
    finish(study, 0.5)
    assert study.samples().precision.tolist() == [0.5]
    assert study.samples().frame["precision_sd"].tolist() == [0.0], "nothing was foreseen"


@pytest.mark.parametrize("written", [0, 1, 3])
def test_a_queue_cut_off_in_the_middle_is_completed(
    reach: Open, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    study = reach()
    study.enqueue(asked(KEYS[5]))
    original, count = study._storage.create_new_trial, 0

    def limited(*arguments: Any) -> int:
        nonlocal count
        if (count := count + 1) > written:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(study._storage, "create_new_trial", limited)
        with pytest.raises(KeyboardInterrupt):
            study.enqueue(asked(*KEYS[:4]))
    again = reach()
    assert [key(r) for r in again.open_requests()] == [KEYS[5], *KEYS[:4]]
    assert again.enqueue(asked(*KEYS[:4])) == 0


def test_the_same_asked_by_two_machines_at_once_is_trained_once(
    reach: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = reach(), reach()
    with monkeypatch.context() as patch:  # as if neither had seen the other's
        patch.setattr(other, "_trials", lambda: [])
        one.enqueue(asked(*KEYS[:2]))
        assert other.enqueue(asked(*KEYS[:2])) == 2
    assert [key(one.claim()), key(other.claim()), one.claim(), other.claim()] == [*KEYS[:2], None, None]
    assert len(one.open_requests()) == 2


def test_notes(reach: Open) -> None:
    study = reach()
    assert study.note("verdicts") is None
    study.keep("verdicts", {"a": [1, 2.5, None]})
    assert reach(existing=True).note("verdicts") == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "another seed: expected 0 (or another folder), got 1"),
        ({"data": "ffff"}, "another data: expected 0123456789ab (or another folder), got ffff"),
        ({"test": "ffff"}, "another test split: expected ba9876543210 (or another folder), got ffff"),
        ({"metric": "balanced"}, "another metric: expected accuracy (or another folder), got balanced"),
        ({"family": "narrow"}, "another family: expected plain"),
        (
            {"recipe": Recipe(epochs=9)},
            "another recipe: expected {'epochs': 6} (or another folder), got {",
        ),
        (
            {"space": SPACE.with_values({"f": (2, 8)})},
            "another space: expected {'f': '2 8 64', 'baseline': 'f=64,l=2,pool=max,rate=1'} (or another "
            "folder), got {'f': '2 8', 'baseline': 'f=8,l=2,pool=max,rate=1'}",
        ),
        ({"split_sizes": {"train": 31, "validation": 20, "test": 10}}, "expected {'train': 30} (or"),
    ],
)
def test_other_settings_are_refused(reach: Open, change: dict[str, Any], message: str) -> None:
    reach()
    with pytest.raises(StudyError) as caught:
        reach(replace(SETTINGS, **change))
    assert message in str(caught.value)
    assert lines(caught) == 1
    assert reach(replace(SETTINGS, dataset="the same under another name")).settings == SETTINGS


def test_requests_outside_the_space_are_refused(reach: Open) -> None:
    study = reach()
    wrong: Configuration = {"f": 3, "l": 1, "rate": 1}
    with pytest.raises(BadInputError, match="parameter f: expected one of 2 8 64, got 3"):
        study.enqueue([*asked(KEYS[0]), Request(wrong, 0)])
    assert reach().open_requests() == [], "nothing half-asked"


def test_a_study_that_is_not_there(reach: Open, tmp_path: Path) -> None:
    reach()
    with pytest.raises(StudyError, match=r"no study (here|of that name)") as caught:
        reach(name="other", existing=True)
    assert lines(caught) == 1


# folders


@pytest.fixture
def study(tmp_path: Path, begun: Path) -> Store:
    return Store.create(shutil.copytree(begun, tmp_path / "study"), SETTINGS)


def test_many_studies_in_one_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'many.db'}"
    first = Store.create(tmp_path / "a", SETTINGS, url)
    second = Store.create(tmp_path / "b", replace(SETTINGS, seed=1), url)
    first.enqueue(asked(*KEYS[:3]))
    assert second.open_requests() == []
    assert Store.open(tmp_path / "b", url).settings.seed == 1
    assert not (tmp_path / "a" / "study.db").exists()


@pytest.mark.parametrize("name", ["renamed", "with space", "per%20cent#x", "{braces}", "ä&=+", "what?"])
def test_a_folder_may_be_moved_and_renamed(tmp_path: Path, study: Store, name: str) -> None:
    study.enqueue(asked(*KEYS[:2]))
    finish(study)
    del study
    place = tmp_path / "deep" / name
    place.parent.mkdir()
    shutil.move(tmp_path / "study", place)
    assert Store.open(place).samples().keys == [KEYS[0]]
    moved = Store.create(place, SETTINGS)
    assert key(moved.claim()) == KEYS[1]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == [name]


def test_optuna_opens_it(tmp_path: Path, study: Store) -> None:
    study.enqueue(asked("f=8,l=1,rate=0.25", "f=8,l=2,pool=max,rate=1", "f=64,l=1,rate=0.5", KEYS[0]))
    claim = study.claim()
    assert claim is not None
    study.progress(claim, 1, 0.5)
    study.progress(claim, 2, 0.625)
    study.record(claim, outcome(study, claim, 0.625))
    finish(study, 0.75)
    finish(study, None, reason="out of memory")
    seen = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study' / 'study.db'}")
    assert seen.study_name == "study"
    assert [t.state.name for t in seen.trials] == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"]
    assert seen.best_trial.params == {"f": 8, "l": 2, "pool": "max", "rate": 1.0}
    assert seen.best_value == 0.75
    assert seen.trials[0].intermediate_values == {1: 0.5, 2: 0.625}
    assert seen.trials[2].user_attrs["reason"] == "out of memory"
    assert len(seen.trials_dataframe()) == 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The study.db of a study with some samples."""
    study = Store.create(tmp_path_factory.mktemp("whole") / "study", SETTINGS)
    study.enqueue(asked(*KEYS[:6]))
    for _ in range(3):
        finish(study)
    return (study.folder / "study.db").read_bytes()


@pytest.mark.parametrize("kept", [20, 100, 4096, 0.3, 0.6, 0.95])
def test_a_truncated_record_is_refused(tmp_path: Path, whole: bytes, kept: float) -> None:
    cut = whole[: int(kept * len(whole) if kept < 1 else kept)]
    refused(tmp_path, cut)


@pytest.mark.parametrize("content", [b"garbage", b"SQLite format 3\x00" + b"x" * 5000, b"\x00" * 4096])
def test_a_record_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content)


def test_a_record_with_a_hole_is_refused_or_whole(tmp_path: Path, whole: bytes) -> None:
    page = len(whole) // 4096 // 2 * 4096
    refused(tmp_path, whole[:page] + b"\xff" * 4096 + whole[page + 4096 :], or_whole=True)


def refused(tmp_path: Path, content: bytes, or_whole: bool = False) -> None:
    """Opening and creating say one line, and leave the file as it was."""
    place = tmp_path / "study"
    place.mkdir()
    (place / "study.db").write_bytes(content)
    for reach in (lambda: Store.open(place), lambda: Store.create(place, SETTINGS)):
        try:
            study = reach()
            assert len(study.samples()) + len(study.open_requests()) == 6
        except StudyError as error:
            assert len(str(error).splitlines()) == 1
            assert str(place) in str(error)
        else:
            assert or_whole, "a damaged record was taken for a whole one"
        if not or_whole:
            assert (place / "study.db").read_bytes() == content


def test_an_empty_record_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"")
    with pytest.raises(StudyError, match="no study"):
        Store.open(tmp_path)
    assert Store.create(tmp_path, SETTINGS).open_requests() == []  # an interrupted beginning is begun again


def test_a_study_of_somebody_else_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    theirs = optuna.create_study(study_name=tmp_path.name, storage=url)
    with pytest.raises(StudyError, match="not a cpmodel study"):
        Store.open(tmp_path)
    theirs.set_user_attr("cpmodel:settings", {"family": "plain"})
    with pytest.raises(StudyError, match="settings of another kind") as caught:
        Store.open(tmp_path)
    assert lines(caught) == 1


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    places = [tmp_path / "file", tmp_path / "file" / "below", Path("/proc/self"), Path("/proc/nowhere/study")]
    for place in places:
        with pytest.raises(BadInputError, match=r"cannot (use|write)") as caught:
            Store.create(place, SETTINGS)
        assert lines(caught) == 1
        with pytest.raises(StudyError, match="no study here"):
            Store.open(place)


def test_a_connection_waits_for_other_processes_and_says_nothing(tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)
    storage = backend_of(f"sqlite:///{tmp_path / 'study.db'}")
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    with storage._backend.engine.connect() as connection:  # type: ignore[attr-defined]
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000  # milliseconds


@pytest.mark.parametrize(
    "url",
    ["nonsense", "nosuchdb://x/y", "sqlite:////proc/nowhere/x.db", "redis://localhost", "sqlite:///{x}"],
)
def test_storages_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    with pytest.raises(StudyError) as caught:
        Store.create(tmp_path / "study", SETTINGS, url)
    assert lines(caught) == 1
    assert url in str(caught.value)


def test_a_database_whose_driver_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    message = r"\*\*\*@x/y: the database cannot be reached: expected its driver.*cpmodel\[postgresql\]"
    with pytest.raises(StudyError, match=message) as caught:
        Store.create(tmp_path / "study", SETTINGS, "postgresql://me:SECRET@x/y")
    assert lines(caught) == 1


def test_of_what_a_database_says_the_words_are_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot be used: unable to open database file$"):
        Store.create(tmp_path / "study", SETTINGS, "sqlite:////proc/nowhere/x.db")


def test_networks_are_kept_for_the_test_split_and_for_others_to_start_from() -> None:
    assert {p for p in Purpose if p.keeps_weights} == {Purpose.BASELINE, Purpose.VERIFY, Purpose.PARENT}


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_no_generator_takes(seed: int) -> None:
    with pytest.raises(BadInputError, match=f"seed: expected a whole number from 0.*got {seed}"):
        replace(SETTINGS, seed=seed)


# real processes


@pytest.fixture
def spawn(study: Store) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run lines of Python in another process that has opened the study as `study`."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        text = (
            f"import os, sys, time\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"from test_store import *\nstudy = Store.open({str(study.folder)!r})\n"
            f"die = lambda *_: os.kill(os.getpid(), 9)\n{code}\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("reaped", [True, False])
def test_killed_with_a_training_in_hand(study: Store, spawn: Any, reaped: bool) -> None:
    study.enqueue(asked(*KEYS[:2]))
    process = spawn("print(key(study.claim()), flush=True); time.sleep(600)")
    assert said(process) == KEYS[0]
    assert key(study.claim()) == KEYS[1]
    assert study.claim() is None
    process.send_signal(signal.SIGKILL)
    if reaped:
        process.wait()
    else:  # nobody has asked for its status, so its number is still in use
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    assert key(study.claim()) == KEYS[0]


def test_killed_in_the_middle_of_recording(study: Store, spawn: Any) -> None:
    study.enqueue(asked(*KEYS[:2]))
    process = spawn("Store._finish = die; finish(study, 0.625)")
    assert process.wait() == -signal.SIGKILL
    assert study.samples().precision.tolist() == [0.625]
    assert [key(study.claim()), study.claim()] == [KEYS[1], None]
    trial = study._trials()[0]
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.625)


@pytest.mark.parametrize("trials", [0, 2])
def test_killed_in_the_middle_of_asking(study: Store, spawn: Any, trials: int) -> None:
    process = spawn(
        f"make, left = study._storage.create_new_trial, iter(range({trials}))\n"
        "study._storage.create_new_trial = lambda *a: make(*a) if next(left, None) is not None else die()\n"
        "study.enqueue(asked(*KEYS[:5]))"
    )
    assert process.wait() == -signal.SIGKILL
    assert len(study.open_requests()) == trials
    again = Store.create(study.folder, SETTINGS)
    assert [key(r) for r in again.open_requests()] == KEYS[:5]


def test_processes_that_claim_at_once_share_without_overlap(study: Store, spawn: Any) -> None:
    requests = [r for seed in range(3) for r in asked(*KEYS, seed=seed)][:40]
    study.enqueue(requests)
    work = (
        "print('ready', flush=True); input()\n"
        "while (claim := study.claim()) is not None:\n"
        "    study.record(claim, outcome(study, claim, plan=str(os.getpid())))\n"
        "    print(claim.trial_id, flush=True)\n"
    )
    processes = [spawn(work) for _ in range(2)]
    for process in processes:
        assert said(process) == "ready"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    done = [process.communicate()[0].split() for process in processes]
    assert [p.returncode for p in processes] == [0, 0]
    assert all(done), "one process did all the work"
    assert len(done[0]) + len(done[1]) == 40
    assert not set(done[0]) & set(done[1])
    table = study.samples()
    assert table.keys == [SPACE.key(r.configuration) for r in requests]
    assert table.frame["seed"].tolist() == [r.seed for r in requests]
    assert {int(plan) for plan in table.frame["plan"]} == {p.pid for p in processes}
    assert os.getpid() not in {p.pid for p in processes}


def test_a_start_that_nothing_can_train_is_refused(study: Store) -> None:
    fresh, pruned = Request(SPACE.baseline, 0), Request(SPACE.baseline, 0, start=Start("pruned", "0" * 16))
    with pytest.raises(BadInputError, match="start of a training: expected fresh, got pruned") as caught:
        study.enqueue([fresh, pruned])
    assert lines(caught) == 1
    assert study.open_requests() == [], "nothing half-asked"
    assert study.weights_of(fresh) != study.weights_of(pruned)


def test_an_unknown_purpose_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"purpose: expected one of baseline, .*, got fun"):
        Request(SPACE.baseline, 0, "fun")  # type: ignore[arg-type]


def test_identities_are_those_of_former_releases() -> None:
    """What a study keeps under a name is found under it for ever."""
    known = {"family": "plain", "data": "0123456789ab", "recipe": "ba9876543210"}
    fresh = identity({"f": 8, "k": 3}, 7, **known)
    pruned = identity({"k": 3, "f": 8}, 7, **known, start=Start("pruned", "0" * 16))
    assert (fresh, pruned) == ("b047aa1b156af895", "b9bf2d78ba384887")
