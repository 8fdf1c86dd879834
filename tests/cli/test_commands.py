"""The commands on a small study and on tables: results on standard output, the rest on standard error."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import pty
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from running import SCRIPT, Command
from small_images import make_images

from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.records.sample import Request
from cpmodel.records.store import Store

VALUES = ["--f", "2,4", "--s", "8,6", "--k", "2", "--l", "1", "--epochs", "1", "--recipe", "batch_size=32"]


@pytest.fixture
def study(tmp_path: Path, small_study: Path) -> Path:
    """A study of one's own."""
    return Path(shutil.copytree(small_study, tmp_path / "study"))


def in_terminal(*args: object, cwd: Path, columns: int) -> str:
    """What a command shows in a terminal so wide."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [SCRIPT, *map(str, args)], cwd=cwd, stdin=child, stdout=child, stderr=child, env=environment
    )
    os.close(child)
    shown = b""
    while select.select([parent], [], [], 120)[0]:
        try:
            part = os.read(parent, 65536)
        except OSError:
            break  # the other end is closed
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait(60) == 0
    return shown.decode()


# the study's own stages


def test_fit_of_a_study(cpmodel: Command, study: Path, tmp_path: Path) -> None:
    ended = cpmodel("fit", "--json", cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert set(ended.json) == {"precision", "paper", "latency"}
    assert ended.json["precision"]["model"] == "auto"
    kept = json.loads((study / "fit.json").read_text())
    assert kept["precision"] == ended.json["precision"]
    shown = cpmodel("fit", "--model", "logpower", cwd=tmp_path)
    assert "P(T): the model logpower. Mean relative error" in shown.out
    assert "by cross-validation" in shown.out
    assert all(line == line.rstrip() for line in shown.out.splitlines())


def test_optimize_a_study(cpmodel: Command, study: Path, tmp_path: Path) -> None:
    ended = cpmodel(
        "optimize", "-t", "50%", "--model", "logpower", "--json", "--envelope", "curve.csv", cwd=tmp_path
    )
    assert ended.code == 0
    choice = ended.json
    assert (choice["status"], choice["target"], choice["complexity"]) == ("reachable", 0.5, "macs")
    assert choice["plain"]["precision"] >= 0.5
    curve = pd.read_csv(tmp_path / "curve.csv")
    assert list(curve.columns) == ["f", "s", "k", "l", "complexity", "relative", "precision", "low", "high"]
    assert (np.diff(curve["precision"]) > 0).all()
    assert curve["complexity"].tolist() == choice["envelope"]["complexity"]

    small = cpmodel(
        "optimize",
        "-t",
        "0.5",
        "-c",
        "params",
        "--max",
        "macs=1000",
        "--model",
        "logpower",
        "--json",
        cwd=tmp_path,
    ).json
    assert small["complexity"] == "params"
    below = cpmodel("optimize", "--drop", "0.2", "--model", "logpower", "--json", cwd=tmp_path).json
    best = pd.read_csv(study / "samples.csv").query("f == 8 and s == 8 and k == 3 and l == 2")["precision"]
    assert below["target"] == pytest.approx(best.mean() - 0.2)


def test_a_target_out_of_reach(cpmodel: Command, tmp_path: Path) -> None:
    rows = "".join(f"{f},{1 - 1 / f:.4f},{f}\n" for f in range(2, 12))
    (tmp_path / "table.csv").write_text("f,precision,macs\n" + rows)
    ended = cpmodel("optimize", "table.csv", "-t", "0.99", cwd=tmp_path)
    assert ended.code == 1
    assert ended.out.startswith("None of 10 configurations is predicted to reach 99 %.")
    assert "f=11" in ended.out
    asked = cpmodel("optimize", "table.csv", "-t", "0.99", "--json", cwd=tmp_path)
    assert (asked.code, asked.json["status"], asked.json["plain"]) == (1, "unreachable", None)


def test_measured_run_times(cpmodel: Command, study: Path, tmp_path: Path) -> None:
    refused = cpmodel("optimize", "-t", "0.5", "-c", "latency_s", "--model", "logpower", cwd=tmp_path)
    assert refused.code == 2
    assert "cpmodel measure" in refused.err
    elsewhere = ["measure", "--image", "8x8x1", "--classes", "3", "--count", "2", "--batch", "2"]
    there = cpmodel(*elsewhere, "--out", "there.csv", "--json", cwd=tmp_path)
    assert there.code == 0, there
    assert [row["configurations"] for row in there.json] == [3]
    here = cpmodel("measure", "--count", "8", "--batch", "4", "--out", "here.csv", cwd=tmp_path)
    assert here.code == 0
    assert "written: here.csv" in here.out
    assert "of 9 measured" in here.err
    table = pd.read_csv(tmp_path / "here.csv")
    table["device"] = "another one"
    table["batch"] = 1
    table.to_csv(tmp_path / "other.csv", index=False)
    imported = cpmodel("measure", "--costs", "other.csv", "--json", cwd=tmp_path)
    assert [row["configurations"] for row in imported.json] == [len(table)]
    assert set(pd.read_csv(study / "costs.csv")["batch"]) >= {1, 4}
    choice = cpmodel(
        "optimize", "-t", "0.5", "-c", "latency_s", "--model", "logpower", "--json", cwd=tmp_path
    )
    assert choice.json["plain"]["complexity"] > 0
    fits = cpmodel("fit", "--model", "logpower", cwd=tmp_path)
    assert "C(T), run-time" in fits.out
    assert "within 10 %" in fits.out


def test_run_times_of_many_networks_are_judged_by_held_out_ones(cpmodel: Command, tmp_path: Path) -> None:
    space = list(itertools.product((2, 4, 8, 16), (8, 12, 20, 28), (3, 4, 5), (1, 2, 3)))
    X = np.array(space, dtype=float)
    work = PlainFamily().costs(X, Task(28, 28, 1, 10))
    grid = pd.DataFrame(space, columns=list("fskl"))
    noise = np.random.default_rng(0).lognormal(0, 0.02, len(X))
    seconds = (2e-10 * work["conv_macs"] + 3e-9 * work["activation_elements"] + 1e-5 * work["layers"]) * noise
    costs = grid.assign(device="d", backend="b", dtype="float32", batch=64, threads=1, latency_s=seconds)
    costs = costs.assign(latency_spread_s=0.0, repeats=9, measured_at="2026-01-01T00:00:00+00:00")
    costs.to_csv(tmp_path / "costs.csv", index=False)
    grid.assign(precision=1 - 0.5 * X[:, 0] ** -0.3)[::5].to_csv(tmp_path / "table.csv", index=False)
    asked = ["table.csv", "--image", "28x28x1", "--costs", "costs.csv", "--model", "logpower"]
    shown = cpmodel("fit", *asked, "--out", "fit.json", cwd=tmp_path)
    assert "50 held-out configurations" in shown.out
    fits = json.loads((tmp_path / "fit.json").read_text())["latency"]
    auto, eq1 = fits["auto"]["held_out"], fits["eq1"]["held_out"]
    assert auto["rows"] == eq1["rows"] == 50
    assert 0.005 < auto["relative_error"] < 0.05 < eq1["relative_error"]
    assert eq1["within_10"] < auto["within_10"] == 1.0
    assert f"{auto['relative_error']:.2%}".replace("%", " %") in shown.out
    assert f"{eq1['within_10']:.0%}".replace("%", " % of them within 10 %") in shown.out
    page = cpmodel("report", *asked, "--out", "page.html", cwd=tmp_path)
    assert page.code == 0
    assert "held-out configurations" in (tmp_path / "page.html").read_text()


def test_report_and_export_of_a_study(cpmodel: Command, study: Path, tmp_path: Path) -> None:
    page = cpmodel("report", "--model", "logpower", cwd=tmp_path)
    assert (page.code, page.out, page.err) == (0, "study/report.html\n", "")
    text = (study / "report.html").read_text()
    assert "f=8, s=8, k=2, l=1" in text
    assert "<script src=" not in text
    exported = cpmodel("export", "--out", "model", "--json", cwd=tmp_path)
    assert (exported.code, exported.err) == (0, "")
    for path in exported.json.values():
        assert (tmp_path / path).stat().st_size > 0
    listed = cpmodel("export", cwd=tmp_path)
    assert all(Path(line).is_file() for line in listed.out.splitlines())


def test_verify_again_costs_nothing(cpmodel: Command, study: Path, tmp_path: Path) -> None:
    before = (study / "samples.csv").read_text()
    again = ["verify", "-t", "0.5", "--config", "f=8,s=8,k=2,l=1", "--seeds", "3", "--workers", "1"]
    shown = cpmodel(*again, cwd=tmp_path)
    assert shown.code == 0, shown
    answer = json.loads((study / "choice.json").read_text())
    assert answer["verdict"]["key"] == "f=8,s=8,k=2,l=1"
    assert answer["status"] == "proved"
    assert (study / "samples.csv").read_text() == before
    assert shown.out.startswith("f=8,s=8,k=2,l=1 reaches 50 %: its precision on ")
    for words in (
        "Precision, validation",
        "97.0 % interval",
        "opening 1 of the study's test images",
        "Run-time of one batch, 64 images",
        "x less",
    ):
        assert words in shown.out


def test_verify_what_cannot_be_reached(cpmodel: Command, study: Path, tmp_path: Path) -> None:
    asked = cpmodel("verify", "-t", "99.99%", "--json", cwd=tmp_path)
    assert asked.code == 1, asked
    assert (asked.json["status"], asked.json["verdict"]) == ("not proved", None)
    assert asked.json["choice"]["status"] == "unreachable"
    assert "is predicted to reach 99.99 %. The best is f=" in asked.json["reason"]


# sampling


def test_designs_and_budgets(cpmodel: Command, tmp_path: Path) -> None:
    make_images(tmp_path / "images.npz")
    common = ["sample", "-d", "npz:images.npz", *VALUES, "-j", "1"]
    first = cpmodel(*common, "--design", "sweep", "--json", cwd=tmp_path)
    assert first.code == 0, first
    assert first.json["samples"] == 3  # the baseline, one of f, one of s
    assert "P 0." in first.err or "P 1." in first.err
    # each training counts once, whether the record was looked at after it or not
    assert re.findall(r"^\[(\d/\d)\]", first.err, re.MULTILINE) == ["1/3", "2/3", "3/3"]
    bests = [float(best) for best in re.findall(r"best (\S+) f=", first.err)]
    assert bests == [max(map(float, re.findall(r": P (\S+),", first.err)[: n + 1])) for n in range(3)]
    done = cpmodel(*common, "--design", "grid", "--budget", "1h", "--seeds", "2", cwd=tmp_path)
    assert done.code == 0
    samples = pd.read_csv(tmp_path / "study/samples.csv")
    assert len(samples) == 8
    assert not samples.duplicated(["f", "s", "k", "l", "seed"]).any()
    # nothing is left to do, from another folder and without the settings
    (tmp_path / "below").mkdir()
    again = cpmodel("sample", "-o", "../study", "--design", "grid", "--seeds", "2", cwd=tmp_path / "below")
    assert again.code == 0
    assert len(pd.read_csv(tmp_path / "study/samples.csv")) == 8


def test_only_one_parameter_moves_and_the_baseline_is_kept(cpmodel: Command, tmp_path: Path) -> None:
    make_images(tmp_path / "images.npz")
    done = cpmodel(
        *["sample", "-d", "npz:images.npz", *VALUES, "-j", "1"],
        "--design",
        "grid",
        "--vary",
        "f",
        cwd=tmp_path,
    )
    assert done.code == 0, done
    samples = pd.read_csv(tmp_path / "study/samples.csv")
    assert sorted(samples[["f", "s"]].itertuples(index=False, name=None)) == [(2, 8), (4, 8)]
    assert samples.set_index("f")["purpose"].to_dict() == {2: "design", 4: "baseline"}
    # a drop is judged against the baseline's networks: they are kept, and no others
    baseline = samples.set_index("f").loc[4]
    study = Store.open(tmp_path / "study")
    kept = study.weights_of(Request({"f": 4, "s": int(baseline["s"]), "k": 2, "l": 1}, int(baseline["seed"])))
    assert list((tmp_path / "study/weights").glob("*.pt")) == [kept]


def test_the_whole_curve_within_limits(cpmodel: Command, tmp_path: Path) -> None:
    make_images(tmp_path / "images.npz")
    values = [
        "--f",
        "2,4,8",
        "--s",
        "8,6",
        "--k",
        "2,3",
        "--l",
        "1",
        "--epochs",
        "1",
        "--recipe",
        "batch_size=32",
    ]
    asked = ["run", "--curve", "0.5:0.95", "--max", "params=400", "-d", "npz:images.npz", *values, "-j", "1"]
    ended = cpmodel(*asked, "--measured", "0", "--budget", "9", "--json", cwd=tmp_path)
    assert ended.code == 0, ended
    curve = ended.json
    assert curve["status"] in ("settled", "open")
    assert 6 <= curve["trainings"] <= 9
    assert len(curve["targets"]) == len(curve["low"]) == len(curve["keys"])
    kept = json.loads((tmp_path / "study/curve.json").read_text())
    assert {key: value for key, value in kept.items() if key != "format"} == curve
    samples = pd.read_csv(tmp_path / "study/samples.csv").query("purpose != 'baseline'")
    weights = samples["f"] * (samples["k"] ** 2 + 2 + 3 * (samples["s"] // 2) ** 2) + 3
    assert (weights <= 400).all()
    # again from there, in words, with a time as budget: nothing is trained once the time is up
    again = cpmodel(
        "run",
        "--curve",
        "50%:95%",
        "--max",
        "params=400",
        "--budget",
        "0.001s",
        cwd=tmp_path,
    )
    assert again.code == 0, again
    assert "90 % band" in again.out
    assert f"{curve['trainings']} trainings" in again.out
    page = (tmp_path / "study/report.html").read_text()
    assert "The least complexity of each precision, and the band in which it lies" in page
    assert "least complexity, 90\\u00a0% band" in page or "least complexity, 90 % band" in page


def test_a_run_of_limited_time(cpmodel: Command, tmp_path: Path) -> None:
    make_images(tmp_path / "images.npz")
    asked = [
        "run",
        "-t",
        "0.5",
        "-d",
        "npz:images.npz",
        *VALUES,
        "-j",
        "1",
        "--measured",
        "0",
        "--json",
    ]
    short = cpmodel(*asked, "--budget", "0.001s", cwd=tmp_path)
    assert short.code == 2  # not one training in that time
    assert "nothing to fit" in short.err
    longer = cpmodel(*asked, "--budget", "10m", "--tolerance", "0.5", cwd=tmp_path)
    assert longer.code == 0, longer
    assert longer.json["status"] in ("proved", "undecided")
    assert longer.json["grounds"]["goal"]["target"] == 0.5
    assert longer.json["openings"][0]["number"] == 1


def test_two_commands_share_a_study_that_is_interrupted(tmp_path: Path) -> None:
    make_images(tmp_path / "images.npz")
    command = [
        SCRIPT,
        "sample",
        "-d",
        "npz:images.npz",
        *VALUES,
        "-j",
        "1",
        "--design",
        "grid",
        "--seeds",
        "4",
    ]
    together = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    record = tmp_path / "study/study.db"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if record.exists() and finished(record):
            break
        time.sleep(0.05)
    together[0].send_signal(signal.SIGINT)
    out, err = together[0].communicate(timeout=60)
    assert (together[0].returncode, out) == (130, "")
    assert err.splitlines()[-1] == "cpmodel: stopped; the same command goes on from here"
    assert "Traceback" not in err
    _, err = together[1].communicate(timeout=120)
    assert together[1].returncode == 0, err
    samples = pd.read_csv(tmp_path / "study/samples.csv")
    assert len(samples) == 16
    assert not samples.duplicated(["f", "s", "k", "l", "seed"]).any()


def finished(record: Path) -> int:
    """How many trainings are in the record."""
    try:
        with sqlite3.connect(f"file:{record}?mode=ro", uri=True) as database:
            found = database.execute("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'").fetchone()
        return int(found[0])
    except sqlite3.Error:
        return 0


def test_optuna_opens_a_study_as_it_is(small_study: Path) -> None:
    opened = optuna.load_study(study_name=None, storage=f"sqlite:///{small_study}/study.db")
    samples = pd.read_csv(small_study / "samples.csv")
    trials = [t for t in opened.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert len(trials) == len(samples)
    for trial, (_, sample) in zip(trials, samples.iterrows(), strict=True):
        assert trial.params == {name: sample[name] for name in "fskl"}
        assert trial.value == sample["precision"]
        curve = json.loads(sample["curve"])
        # points that follow each other closely are left out; the first never is
        assert 1 in trial.intermediate_values
        for epoch, precision in trial.intermediate_values.items():
            assert precision == pytest.approx(curve[epoch - 1], abs=1e-6)
        assert trial.user_attrs["seed"] == sample["seed"]
    assert opened.best_trial.value == samples["precision"].max()


# anybody's table


def test_a_table_with_names_of_its_own(cpmodel: Command, tmp_path: Path) -> None:
    rows = ["width,act,precision,top1,ms"]
    rows += [
        f"{w},{a},fp32,{90 - 40 / w + b:.2f},{w * 1.5}"
        for w in (2, 4, 8, 16)
        for a, b in (("relu", 0), ("silu", 1))
    ]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    mapped = ["table.csv", "--parameters", "width,act", "--precision", "top1"]
    ended = cpmodel("optimize", *mapped, "-t", "0.8", "--json", cwd=tmp_path)
    assert ended.code == 0, ended
    assert ended.json["complexity"] == "ms"
    assert ended.json["plain"]["configuration"] == {"width": 4, "act": "silu"}
    notes = ended.err.splitlines()
    assert notes[0] == "column 'top1' read as percentages (they run from 70 to 88.5)"
    assert notes[1] == "column 'precision' left out: precision is read from 'top1'"
    fit = cpmodel("fit", *mapped, "--out", "fit.json", cwd=tmp_path)
    assert fit.code == 0
    assert json.loads((tmp_path / "fit.json").read_text())["precision"]["model"] == "auto"
    page = cpmodel("report", *mapped, "-t", "0.8", "--model", "loggp", cwd=tmp_path)
    assert (page.code, page.out) == (0, "table.html\n")
    assert "width=4, act=silu" in (tmp_path / "table.html").read_text()


def test_exact_complexity_of_a_table_of_plain_networks(cpmodel: Command, tmp_path: Path) -> None:
    rows = ["f,s,k,l,precision"]
    rows += [f"{f},{s},3,1,{1 - 0.4 / f - 0.5 / s:.4f}" for f in (4, 8, 16) for s in (8, 12, 16)]
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    asked = ["optimize", "table.csv", "-t", "0.9"]
    refused = cpmodel(*asked, cwd=tmp_path)
    assert refused.code == 2
    assert "--image" in refused.err
    ended = cpmodel(*asked, "--image", "28x28x1", "--json", cwd=tmp_path)
    chosen = ended.json["plain"]
    f, s = chosen["configuration"]["f"], chosen["configuration"]["s"]
    assert chosen["complexity"] == s * s * 9 * f + (s // 2) ** 2 * f * 10


def test_a_gzipped_table_with_several_costs(cpmodel: Command, tmp_path: Path) -> None:
    rows = ["f,precision,macs_m,params"]
    rows += [f"{f},{1 - 1 / f:.4f},{f * 1.5},{f * f}" for f in range(2, 12)]
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    ended = cpmodel("optimize", "table.csv.gz", "-t", "0.8", "--json", cwd=tmp_path)
    assert (ended.code, ended.json["complexity"]) == (0, "macs_m")
    said = "complexity is column 'macs_m'; --complexity chooses another (params)"
    assert said in ended.err.splitlines()
    assert ended.json["notes"] == [said]
    asked = cpmodel("optimize", "table.csv.gz", "-t", "0.8", "-c", "params", "--json", cwd=tmp_path)
    assert (asked.json["complexity"], asked.json["notes"]) == ("params", [])
    page = cpmodel("report", "table.csv.gz", "-t", "0.8", "--model", "logpower", cwd=tmp_path)
    assert (page.code, page.out) == (0, "table.html\n")
    assert "--complexity chooses another" in (tmp_path / "table.html").read_text()


# how it looks


def test_tables_in_a_terminal_are_never_cut(small_study: Path, tmp_path: Path) -> None:
    shown = in_terminal("optimize", small_study, "-t", "0.5", "--model", "logpower", cwd=tmp_path, columns=50)
    assert "f=8,s=8,k=3,l=2" in shown
    assert "…" not in shown
    assert "\x1b[" in shown  # the head of the table is bold


def test_a_file_gets_no_colours(cpmodel: Command, small_study: Path, tmp_path: Path) -> None:
    ended = cpmodel("optimize", small_study, "-t", "0.5", "--model", "logpower", cwd=tmp_path)
    assert ended.code == 0
    assert "\x1b" not in ended.out + ended.err


def test_whoever_reads_the_answer_may_stop_reading(small_study: Path, tmp_path: Path) -> None:
    pipe = f"{SCRIPT} optimize {small_study} -t 0.5 --model logpower --json | head -c 1"
    ended = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("{", "")
