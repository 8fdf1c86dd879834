"""Whatever is wrong: one clear line on standard error, exit code 2, nothing half-written, nothing lost."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running import SCRIPT, Command, Ended, called

HEADER = "f,s,k,l,precision,macs"
GOOD = [
    f"{f},{s},{k},1,{1 - 0.4 / f - 0.5 / s - 0.01 * (5 - k):.4f},{f * s * s * k * k}"
    for f in (4, 8, 16)
    for s in (8, 12)
    for k in (3, 5)
]


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))
    }


def refused(ended: Ended, *words: str) -> None:
    """One line that says what is wrong, and no more."""
    assert ended.code == 2, ended
    assert ended.out == ""
    *notes, line = ended.err.splitlines()
    assert line.startswith("cpmodel: ")
    assert all(note.startswith("column '") for note in notes), notes  # how the columns were read
    assert "Traceback" not in ended.err
    for word in words:
        assert word in line, line


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a good table."""
    (tmp_path / "good.csv").write_text("\n".join([HEADER, *GOOD]) + "\n")
    return tmp_path


@pytest.fixture
def leaves_alone(cpmodel: Command, place: Path) -> Callable[..., None]:
    """Run a command that must be refused with these words, and see that no file changed."""

    def check(command: str, *words: str, most_bytes: int | None = None) -> None:
        before = contents(place)
        refused(cpmodel(*command.split(), cwd=place, most_bytes=most_bytes), *words)
        assert contents(place) == before

    return check


def with_cell(column: str, text: str) -> str:
    """The good table, its second row (line 3) with another cell."""
    rows = [line.split(",") for line in [HEADER, *GOOD]]
    rows[2][rows[0].index(column)] = text
    return "\n".join(map(",".join, rows)) + "\n"


def percentages(odd: str) -> str:
    """The good table in percent, its second row with another precision."""
    rows = [line.split(",") for line in GOOD]
    scaled = [",".join([*row[:4], f"{100 * float(row[4]):.2f}", row[5]]) for row in rows]
    scaled[1] = ",".join([*rows[1][:4], odd, rows[1][5]])
    return "\n".join([HEADER, *scaled]) + "\n"


GOOD_TEXT = "\n".join([HEADER, *GOOD]) + "\n"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (GOOD_TEXT.replace("precision", "acc"), ["column 'precision' is missing", "acc"]),
        (with_cell("precision", "good"), ["column 'precision', line 3", "number", "'good'"]),
        (with_cell("precision", "nan"), ["column 'precision', line 3", "number"]),
        (with_cell("precision", ""), ["column 'precision', line 3", "number"]),
        (with_cell("precision", "inf"), ["column 'precision', line 3", "finite", "inf"]),
        (with_cell("precision", "1.3"), ["column 'precision', line 3", "fraction in [0, 1]", "1.3"]),
        (
            percentages("0.94"),
            ["column 'precision', line 3", "percentage above 1", "--unit percent", "'0.94'"],
        ),
        (with_cell("precision", "-0.1"), ["column 'precision', line 3", "-0.1"]),
        (with_cell("f", "many"), ["column 'f', line 3", "number", "'many'"]),
        (with_cell("f", ""), ["column 'f', line 3", "value", "none"]),
        (with_cell("macs", "lots"), ["column 'macs', line 3", "number", "'lots'"]),
        (with_cell("macs", "-5"), ["column 'macs', line 3", "above 0", "-5"]),
        ("", ["empty file", "header"]),
        (HEADER + "\n", ["no rows", "at least one sample"]),
        (GOOD_TEXT.replace("macs", "precision"), ["column 'precision'", "twice"]),
        (GOOD_TEXT + "1,2,3,4,5,6,7,8\n", ["line 14", "6", "8"]),
        (f"{HEADER}\n{GOOD[0]}\n", ["column 'macs'", "5 configurations", "got 1"]),
        ("a,b\n1,2\n", ["parameters", "--parameters"]),
        ("\0" * 5000, ["table.csv"]),
        (GOOD_TEXT.replace(",", ";"), ["table.csv"]),
    ],
)
def test_tables(leaves_alone: Callable[..., None], place: Path, table: str, words: list[str]) -> None:
    (place / "table.csv").write_text(table)
    leaves_alone("optimize table.csv -t 0.8", "table.csv", *words)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)), GOOD_TEXT.encode("utf-16")])
def test_binary_files_are_no_tables(leaves_alone: Callable[..., None], place: Path, data: bytes) -> None:
    (place / "table.csv").write_bytes(data)
    for command in ("fit table.csv", "optimize table.csv -t 0.8", "report table.csv"):
        leaves_alone(command, "table.csv", "not a CSV table")


@pytest.mark.parametrize(
    "data",
    [GOOD_TEXT.encode(), gzip.compress(GOOD_TEXT.encode(), mtime=0)[:60]],
    ids=["plain text", "cut short"],  # processes that share the tests must name them alike
)
def test_broken_gzip_files(leaves_alone: Callable[..., None], place: Path, data: bytes) -> None:
    (place / "table.csv.gz").write_bytes(data)
    leaves_alone("optimize table.csv.gz -t 0.8", "table.csv.gz", "gzip")


@pytest.mark.parametrize("target", ["1.7", "abc", "-1", "nan", "0", "94"])
def test_targets(leaves_alone: Callable[..., None], target: str) -> None:
    for command in ("optimize good.csv", "run", "verify", "report good.csv"):
        leaves_alone(f"{command} --target {target}", "--target", "fraction in (0, 1]", f"'{target}'")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("optimize good.csv", ["target", "neither"]),
        ("optimize good.csv -t 0.8 --drop 0.1", ["target", "both"]),
        ("run -t 0.8 --drop 0.1", ["target", "both"]),
        ("optimize good.csv --drop 0.99 --model logpower", ["drop", "baseline's precision", "0.99"]),
        ("optimize good.csv -t 0.8 --model logpower -c watts", ["good.csv", "complexity", "macs", "watts"]),
        ("optimize good.csv -t 0.8 --model logpower --max watts=3", ["complexity", "watts"]),
        ("optimize good.csv -t 0.8 --max macs", ["--max", "NAME=NUMBER", "'macs'"]),
        ("optimize good.csv -t 0.8 --model logpower --max macs=1", ["macs"]),
        ("optimize good.csv -t 0.8 --confidence 2", ["confidence", "[0.5, 1)", "2"]),
        ("optimize good.csv -t 0.8 --confidence abc", ["--confidence", "number", "'abc'"]),
        ("optimize good.csv -t 0.8 --model magic", ["model", "loggp", "magic"]),
        ("optimize good.csv -t 0.8 --unit kilo", ["--unit", "percent", "'kilo'"]),
        ("optimize good.csv -t 0.8 --family zoo", ["family", "plain", "zoo"]),
        ("optimize good.csv -t 0.8 --image 28", ["image", "28x28x1", "'28'"]),
        ("optimize good.csv -t 0.8 --baseline f=3", ["f", "4 8 16", "3"]),
        ("optimize good.csv -t 0.8 --parameters f,zz", ["'zz'", "missing"]),
        ("optimize nowhere -t 0.8", ["nowhere", "folder or a CSV"]),
        ("optimize . -t 0.8", ["no study here", "study.db"]),
        (
            "optimize good.csv -t 0.8 --model logpower --envelope good.csv/x.csv",
            ["good.csv/x.csv", "cannot write"],
        ),
        ("optimize good.csv -t 0.8 --model logpower --envelope .", ["cannot write", "directory"]),
        ("optimize good.csv -t 0.8 --model logpower --envelope /dev/full", ["/dev/full", "No space left"]),
        (
            "optimize good.csv -t 0.8 --model logpower --envelope /proc/x/curve.csv",
            ["/proc/x/curve.csv", "cannot write"],
        ),
        ("fit good.csv --out /proc/x/fit.json", ["/proc/x/fit.json", "cannot write"]),
        ("fit good.csv --precision zz", ["'zz'", "missing"]),
        ("fit", ["study", "nothing there"]),
        ("report nowhere", ["nowhere"]),
        ("export", ["no study here"]),
        ("export --storage sqlite:///none.db", ["sqlite:///none.db", "no record there"]),
        ("fit --storage sqlite:///none.db", ["no record there", "cpmodel sample or run"]),
        ("optimize -t 0.8 --storage sqlite:///none.db", ["no record there"]),
        ("report --storage sqlite:///none.db", ["no record there"]),
        ("verify -t 0.8 --storage sqlite:///none.db", ["no record there"]),
        ("measure --storage sqlite:///none.db", ["no record there"]),
        ("verify -t 0.8", ["no study here"]),
        ("measure", ["no study here"]),
        ("measure --image 28x28x1 --dtype float8", ["dtype", "float32", "float8"]),
        ("measure --image 28x28x1 --device abacus", ["device", "cpu", "abacus"]),
        ("run -t 0.8 -c watts", ["complexity", "macs", "watts"]),
        ("run -t 0.8 --max watts=3", ["complexity", "watts"]),
        ("run -t 0.8 --budget 3", ["budget", "3"]),
        ("run -t 0.8 --budget x", ["--budget", "trainings (40) or a time (90s, 10m, 2h)", "'x'"]),
        ("run --curve 0.9:0.8", ["curve", "0.80:0.92", "0.9:0.8"]),
        ("run --curve 0.9", ["--curve", "two precisions", "'0.9'"]),
        ("run --curve 0.8:94", ["--curve", "fraction in (0, 1]", "'94'"]),
        ("run --curve 0.8:0.9 -t 0.85", ["--curve", "without --target", "0.85"]),
        ("run --curve 0.8:0.9 --drop 0.01", ["--curve", "without --drop"]),
        ("run --curve 0.8:0.9 --budget 5", ["budget", "6 trainings", "5"]),
        ("run --curve 0.8:0.9 --max watts=3", ["complexity", "watts"]),
        ("verify -t 0.8 --seeds 2", ["--seeds", "3", "got 2"]),
        ("run -t 0.8 --tolerance nan", ["tolerance", "[0, 1)", "nan"]),
        ("run -t 0.8 --seed -1", ["seed", "-1"]),
        ("sample --budget soon", ["--budget", "90s", "'soon'"]),
        ("sample --budget 0", ["--budget", "'0'"]),
        ("sample --workers 0", ["--workers", "1", "got 0"]),
        ("sample --device gpu", ["device", "cpu, cuda", "gpu"]),
        ("sample --device cuda:99", ["device", "expected", "cuda:99"]),
        ("run -t 0.8 --device cuda:99", ["device", "expected", "cuda:99"]),
        ("verify -t 0.8 --device cuda:99", ["device", "expected", "cuda:99"]),
        ("sample --seeds 0", ["--seeds", "1", "got 0"]),
        ("sample --dataset pictures", ["data set", "digits", "pictures"]),
        ("sample --dataset folder:none", ["none"]),
        ("sample --dataset npz:none.npz", ["none.npz"]),
        ("sample --dataset npz:good.csv", ["good.csv"]),
        ("sample --family zoo", ["family", "plain", "zoo"]),
        ("sample --design spiral", ["design", "sobol", "spiral"]),
        ("sample --vary f,q", ["parameter", "f, s, k, l", "q"]),
        ("sample --q 3", ["f, s, k, l", "q"]),
        ("sample --f abc", ["f", "whole numbers", "abc"]),
        ("sample --f nan", ["f", "nan"]),
        ("sample --f", ["--f"]),
        ("sample --f 8 --f 16", ["--f", "twice"]),
        ("sample surprise", ["surprise"]),
        ("sample --recipe epochs=abc", ["epochs", "abc"]),
        ("sample --recipe speed=3", ["epochs", "speed"]),
        ("sample --epochs 0", ["epochs", "0"]),
        ("sample --baseline q=3", ["q"]),
        ("sample --study good.csv", ["good.csv", "cannot use the folder"]),
        ("sample --study good.csv/below", ["good.csv/below", "cannot use the folder"]),
        ("sample --study /proc/x", ["/proc/x", "cannot use the folder"]),
        ("optimize --color", ["--color"]),
        ("optimise", ["optimise"]),
        ("optimize a b", ["b"]),
        ("optimize -t", ["-t"]),
    ],
)
def test_options(leaves_alone: Callable[..., None], command: str, words: list[str]) -> None:
    leaves_alone(command, *words)


def test_a_corrupt_image_is_named(leaves_alone: Callable[..., None], place: Path) -> None:
    for name in ("cat", "dog"):
        (place / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (8, 8), number).save(place / "pictures" / name / f"{number}.png")
    (place / "pictures/dog/5.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    leaves_alone("sample --dataset folder:pictures", "pictures/dog/5.png")


def test_pickled_objects_are_not_loaded(leaves_alone: Callable[..., None], place: Path) -> None:
    np.savez(place / "bad.npz", x=np.array([{"a": 1}, None], dtype=object), y=np.zeros(2))
    leaves_alone("sample --dataset npz:bad.npz", "bad.npz", "pickle")


def test_a_full_disk(leaves_alone: Callable[..., None]) -> None:
    leaves_alone("fit good.csv --model logpower --out fit.json", "fit.json", "cannot write", most_bytes=500)
    leaves_alone(
        "optimize good.csv -t 0.8 --model logpower --envelope curve.csv",
        "curve.csv",
        "cannot write",
        most_bytes=250,
    )


def test_a_full_disk_makes_no_study(cpmodel: Command, place: Path) -> None:
    ended = cpmodel("sample", "--dataset", "digits", "--budget", 2, cwd=place, most_bytes=1000)
    refused(ended, "study")


def test_an_old_page_survives_a_full_disk(leaves_alone: Callable[..., None], place: Path) -> None:
    (place / "good.html").write_text("the page of yesterday")
    leaves_alone("report good.csv --model logpower", "good.html", "cannot write", most_bytes=100_000)
    assert (place / "good.html").read_text() == "the page of yesterday"


def test_standard_output_on_a_full_disk(place: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [SCRIPT, "optimize", "good.csv", "-t", "0.8"],
            cwd=place, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("cpmodel: ")
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture
def study(place: Path, small_study: Path) -> Path:
    """A study of one's own."""
    return Path(shutil.copytree(small_study, place / "study"))


def keep_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(3000))


@pytest.mark.parametrize("harm", [keep_half, scramble])
@pytest.mark.parametrize(
    "command",
    [
        "fit",
        "optimize -t 0.8",
        "report",
        "export",
        "sample --budget 2",
        "verify -t 0.8",
        "run -t 0.8",
        "measure",
    ],
)
def test_a_broken_record(
    leaves_alone: Callable[..., None], study: Path, harm: Callable[[Path], None], command: str
) -> None:
    harm(study / "study.db")
    leaves_alone(command, "study.db", "the study's record cannot be used")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "{}", '{"status": "proved"}', "\0\1\2"])
def test_a_broken_answer(leaves_alone: Callable[..., None], study: Path, text: str) -> None:
    (study / "choice.json").write_text(text)
    leaves_alone("export", "choice.json")


def test_a_broken_costs_table(leaves_alone: Callable[..., None], study: Path) -> None:
    (study / "costs.csv").write_text("f,s\n1,2\n")
    leaves_alone("fit", "costs.csv", "missing")
    (study / "costs.csv").write_bytes(bytes(range(256)))
    leaves_alone("optimize -t 0.8", "costs.csv")


def test_a_foreign_costs_table_is_not_imported(leaves_alone: Callable[..., None], study: Path) -> None:
    leaves_alone("measure --costs good.csv", "good.csv", "'device'", "missing")
    leaves_alone("measure --costs none.csv", "none.csv")


def test_a_broken_fit_is_written_anew(cpmodel: Command, study: Path, place: Path) -> None:
    (study / "fit.json").write_text("{")
    assert cpmodel("fit", "--model", "logpower", cwd=place).code == 0
    assert (study / "fit.json").read_text().startswith('{\n  "space"')


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--epochs 3", ["recipe", "epochs"]),
        ("--seed 7", ["seed", "0", "7"]),
        ("--dataset digits", ["data"]),
        ("--f 2,4", ["space"]),
        ("--baseline f=4", ["space"]),
    ],
)
def test_other_settings_are_refused(
    leaves_alone: Callable[..., None], study: Path, options: str, words: list[str]
) -> None:
    leaves_alone(f"sample --budget 2 {options}", "the study there has another", *words)


def test_lost_weights(leaves_alone: Callable[..., None], study: Path) -> None:
    shutil.rmtree(study / "weights")
    leaves_alone("export", "weights")


def test_the_traceback_is_there_for_those_who_ask(cpmodel: Command, place: Path) -> None:
    ended = cpmodel("optimize", "good.csv", "-t", "7", "--debug", cwd=place)
    assert "Traceback" in ended.err
    assert "BadInputError" in ended.err


def test_the_installed_script_says_the_same(place: Path) -> None:
    refused(called("optimize", "good.csv", "-t", "1.7", cwd=place), "--target", "'1.7'")
