from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, top_k_accuracy_score
from torch import Tensor, nn

from cpmodel.datasets.base import ImageSet, Split
from cpmodel.engine.augment import augmented
from cpmodel.errors import BadInputError, TrainingFailedError
from cpmodel.families import get_family
from cpmodel.families.plain import PlainFamily
from cpmodel.recipe import Optimizer, Recipe, Schedule
from cpmodel.training.jobs import Job
from cpmodel.training.resized import resize
from cpmodel.training.trainer import Plan, Trained, Trainer, default_plan, learning_rates

PLAN = Plan()
CONFIGURATION = {"f": 4, "s": 8, "k": 3, "l": 1}
SHORT = Recipe(epochs=2, batch_size=32)


def corners(n: int, seed: int, classes: int = 3, channels: int = 1) -> Split:
    """Noise with one bright corner; which corner is the class."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (n, 8, 8, channels), dtype=np.uint8)
    labels = rng.permutation(np.arange(n) % classes).astype(np.int64)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 100
    return Split(images, labels)


def made(channels: int = 1) -> ImageSet:
    parts = [corners(n, seed, channels=channels) for seed, n in enumerate((240, 90, 90))]
    return ImageSet("corners", *parts, ("a", "b", "c"))


IMAGES = made()


def trainer(recipe: Recipe = SHORT, plan: Plan = PLAN, images: ImageSet = IMAGES) -> Trainer:
    return Trainer(images, PlainFamily(), recipe, plan)


def weights(trained: Trained) -> dict[str, Tensor]:
    return trained.network.state_dict()


def equal(one: Trained, other: Trained) -> bool:
    pairs = zip(weights(one).items(), weights(other).items(), strict=True)
    return all(n == m and torch.equal(a, b) for (n, a), (m, b) in pairs)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two test processes share the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# one training


def test_learns_what_is_plain_to_see() -> None:
    seen: list[tuple[int, float]] = []
    trained = trainer(Recipe(epochs=5, batch_size=16, augment=())).train(
        CONFIGURATION, 0, lambda epoch, precision: seen.append((epoch, precision))
    )
    assert trained.validation.precision > 0.9
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4, 5]
    assert trained.curve == tuple(p for _, p in seen)
    assert trained.curve[-1] == trained.validation.precision
    assert trained.train_s > 0
    assert not trained.network.training
    assert {w.dtype for w in trained.network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        Plan(channels_last=False),
        Plan(dtype="bfloat16"),
        Plan(fused=True),
        Plan(dtype="bfloat16", fused=True),
        default_plan(),
    ],
    ids=str,
)
def test_a_seed_decides_every_bit(plan: Plan) -> None:
    recipe = Recipe(epochs=2, batch_size=32, augment=("flip", "shift", "cutout"))
    one = trainer(recipe, plan).train(CONFIGURATION, 5)
    torch.manual_seed(123)  # the state of the process has no say
    same = trainer(recipe, plan)
    same.train({**CONFIGURATION, "k": 5}, 1)
    other = same.train(CONFIGURATION, 5)
    assert equal(one, other)
    assert one.curve == other.curve
    assert one.validation.figures == other.validation.figures
    assert not equal(one, same.train(CONFIGURATION, 6))


@pytest.mark.parametrize(
    "plan", [PLAN, Plan(fused=True), Plan(graphs=True)], ids=["modules", "fused", "device"]
)
def test_curves_are_of_mean_weights_and_no_weight_feels_it(plan: Plan) -> None:
    recipe = Recipe(epochs=3, batch_size=16)
    averaged = trainer(recipe, plan).train(CONFIGURATION, 2)
    itself = trainer(replace(recipe, patience=recipe.epochs), plan).train(CONFIGURATION, 2)
    assert equal(averaged, itself)
    assert averaged.curve[-1] == itself.curve[-1]
    assert averaged.curve[:-1] != itself.curve[:-1]
    t = trainer(recipe, plan)
    stopped = t.train(CONFIGURATION, 2, stopping=lambda curve: len(curve) == 2)
    assert stopped.curve == averaged.curve[:2]
    assert t.evaluate(stopped.network, CONFIGURATION, "validation").precision == stopped.curve[-1]


def test_a_training_leaves_the_process_as_it_was() -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    trainer(plan=Plan(threads=threads + 1)).train(CONFIGURATION, 0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_seeds_decide_weights_order_and_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer()
    first, second = t.new_network(CONFIGURATION, 0), t.new_network(CONFIGURATION, 1)
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    # the same weights, another order: the outcome still differs
    monkeypatch.setattr(t, "new_network", lambda c, seed, conv_std: Trainer.new_network(t, c, 0))
    assert not equal(t.train(CONFIGURATION, 0), t.train(CONFIGURATION, 1))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_loss_that_is_no_number_is_a_failed_training(optimizer: Any) -> None:
    recipe = Recipe(optimizer=optimizer, learning_rate=1e38, schedule="constant", warmup=0, epochs=3)
    with pytest.raises(TrainingFailedError, match=r"the loss became (nan|inf) in epoch [123]"):
        trainer(recipe).train(CONFIGURATION, 0)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_no_memory_is_a_failed_training(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def build(*_: object) -> nn.Module:
        raise error

    t = trainer()
    monkeypatch.setattr(t.family, "build", build)
    with pytest.raises(TrainingFailedError, match="out of memory"):
        t.train(CONFIGURATION, 0)
    error.args = ("shapes differ",)
    if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
        with pytest.raises(RuntimeError, match="shapes differ"):
            t.train(CONFIGURATION, 0)


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_every_optimizer_lowers_the_loss(optimizer: Any) -> None:
    rates = {"sgd": 0.05, "adadelta": 1.0, "rmsprop": 0.003}
    recipe = Recipe(
        optimizer=optimizer, learning_rate=rates.get(optimizer, 0.01), epochs=2, batch_size=16, augment=()
    )
    trained = trainer(recipe).train(CONFIGURATION, 0)
    assert trained.validation.figures["nll"] < math.log(3)
    assert trained.validation.precision > 0.5


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_schedule_trains(schedule: Any) -> None:
    trained = trainer(Recipe(schedule=schedule, epochs=2, batch_size=16)).train(CONFIGURATION, 0)
    assert trained.validation.precision > 0.5


def test_trainings_may_take_turns() -> None:
    t = trainer(plan=Plan(graphs=True))  # on the processor nothing is captured, but all reads the device
    alone = [t.train(CONFIGURATION, seed) for seed in (1, 2)]
    assert [str(each.plan) for each in alone] == [str(PLAN)] * 2  # what was done, not what was hoped for
    turns = {seed: t.turns(Job(seed, CONFIGURATION, seed, SHORT)) for seed in (1, 2)}
    together: dict[int, Trained] = {}
    count = 0
    while turns:
        for seed, each in list(turns.items()):
            try:
                assert next(each)()
                count += 1
            except StopIteration as end:
                together[seed] = end.value
                del turns[seed]
    assert all(equal(one, together[seed]) for seed, one in zip((1, 2), alone, strict=True))
    assert [together[seed].curve for seed in (1, 2)] == [one.curve for one in alone]
    assert count >= 2 * SHORT.epochs


def test_parts_of_a_batch_are_part_of_the_plan() -> None:
    t = trainer()
    whole = t.train(CONFIGURATION, 1)
    turns = t.turns(Job(0, CONFIGURATION, 1, SHORT, parts=2))
    while True:
        try:
            next(turns)
        except StopIteration as end:
            parts: Trained = end.value
            break
    assert str(parts.plan) == f"{PLAN} parts=2"
    assert not equal(whole, parts)  # batch norm saw half batches
    assert parts.curve == pytest.approx(whole.curve, abs=0.2)


def test_momentum_of_zero_and_smoothing() -> None:
    plain = trainer(Recipe(optimizer="sgd", momentum=0, epochs=1)).train(CONFIGURATION, 0)
    smooth = trainer(Recipe(optimizer="sgd", momentum=0, epochs=1, label_smoothing=0.2)).train(
        CONFIGURATION, 0
    )
    assert not equal(plain, smooth)


def scripted(t: Trainer, course: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trainer find these precisions, one after another, then what there is."""
    original, left = t._values, iter(course)

    def values(*arguments: Any) -> Any:
        found, p = original(*arguments), next(left, None)
        return found if p is None else (np.arange(len(found)) < round(p * len(found))).astype(np.float64)

    monkeypatch.setattr(t, "_values", values)


def test_patience_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    course = [0.3, 0.5, 0.4, 0.5, 0.45, 0.9, 0.9, 0.9]
    t = trainer(Recipe(epochs=8, batch_size=128, patience=3))
    scripted(t, course, monkeypatch)
    trained = t.train(CONFIGURATION, 0)
    # the best was epoch 2 (a tie is no gain), three more did not better it
    assert len(trained.curve) == 5
    np.testing.assert_allclose(trained.curve[:4], course[:4], atol=0.01)


def test_a_plateau_lowers_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(
        optimizer="sgd", schedule="constant", warmup=0, epochs=5, batch_size=120, learning_rate=0.5
    )
    rates: list[float] = []
    step = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, *rest: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    t = trainer(replace(recipe, epochs=5, batch_size=120, plateau=2, plateau_factor=0.1))
    scripted(t, [0.5, 0.4, 0.4, 0.6], monkeypatch)
    t.train(CONFIGURATION, 0)
    np.testing.assert_allclose(rates, [0.5] * 6 + [0.05] * 4)


def test_the_best_epoch_is_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(epochs=2, batch_size=32, schedule="constant", warmup=0, patience=9)
    two = trainer(recipe).train(CONFIGURATION, 0)
    t = trainer(replace(recipe, epochs=4, best=True))
    scripted(t, [0.5, 0.9, 0.4, 0.4], monkeypatch)
    kept = t.train(CONFIGURATION, 0)
    assert equal(kept, two)
    assert kept.validation.precision == two.validation.precision == kept.curve[-1]
    np.testing.assert_allclose(kept.curve[:3], [0.5, 0.9, 0.4], atol=0.01)


def test_steps_instead_of_epochs() -> None:
    told: list[int] = []
    recipe = Recipe(steps=20, epochs=4, batch_size=100)  # two steps go through the 240 images
    trained = trainer(recipe).train(CONFIGURATION, 0, lambda epoch, precision: told.append(epoch))
    assert told == [1, 2, 3, 4]
    assert int(weights(trained)["norm1.num_batches_tracked"]) == 20
    assert equal(trained, trainer(recipe).train(CONFIGURATION, 0))


def test_first_weights_of_convolutions() -> None:
    wide = {"f": 64, "s": 8, "k": 5, "l": 2}
    usual = trainer().new_network(wide, 3)
    network = trainer().new_network(wide, 3, conv_std=0.2)
    drawn = torch.cat(
        [p.detach().flatten() for name, p in network.named_parameters() if name.startswith("conv")]
    )
    assert abs(float(drawn.std()) - 0.2) < 0.002
    assert abs(float(drawn.mean())) < 0.002
    assert torch.equal(network.dense.weight, usual.dense.weight)
    assert not torch.equal(network.conv1.weight, usual.conv1.weight)


@pytest.mark.parametrize("plan", [PLAN, Plan(fused=True)], ids=["modules", "fused"])
def test_what_a_network_leaves_out_at_random_follows_the_seed(plan: Plan) -> None:
    family = get_family("convpool?dropout=0.5")
    chosen = {"convs": 1, "k1": 3, "f1": 2, "pool": 2, "fc": 32}
    found = []
    for seed, drawn_before in ((0, 3), (0, 8), (1, 3)):
        torch.manual_seed(drawn_before)
        state = torch.random.get_rng_state()
        found.append(Trainer(IMAGES, family, SHORT, plan).train(chosen, seed))
        assert torch.equal(torch.random.get_rng_state(), state)
    assert equal(found[0], found[1])
    assert not equal(found[0], found[2])


def test_fewer_images_than_a_batch() -> None:
    trained = trainer(Recipe(epochs=1, batch_size=1000)).train(CONFIGURATION, 0)
    assert len(trained.curve) == 1


def test_colour_and_other_sizes() -> None:
    images = made(channels=3)
    trained = trainer(images=images, recipe=Recipe(epochs=3, batch_size=16)).train(
        {"f": 4, "s": 6, "k": 3, "l": 2}, 0
    )
    assert next(trained.network.parameters()).shape[1] == 3
    assert trained.validation.precision > 0.6


# schedules


def test_rates_of_one_cycle() -> None:
    rates = learning_rates(Recipe(learning_rate=0.5, warmup=0.25), 100)
    assert len(rates) == 100
    np.testing.assert_allclose(rates[:25], 0.5 * np.arange(1, 26) / 25)
    assert max(rates) == rates[24] == 0.5
    assert (np.diff(rates[25:]) < 0).all()
    assert rates[-1] == pytest.approx(0.5e-4)
    # half-way down the rate is half the peak
    assert rates[62] == pytest.approx(0.25, rel=0.03)


def test_rates_of_the_others() -> None:
    cosine = learning_rates(Recipe(learning_rate=1, schedule="cosine", warmup=0), 51)
    assert (cosine[0], cosine[25], cosine[-1]) == (1, pytest.approx(0.5), pytest.approx(0))
    step = learning_rates(Recipe(learning_rate=1, schedule="step", warmup=0), 8)
    np.testing.assert_allclose(step, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    constant = learning_rates(Recipe(learning_rate=1, schedule="constant", warmup=0.5), 4)
    assert constant == [0.5, 1, 1, 1]


@pytest.mark.parametrize("schedule", get_args(Schedule))
@pytest.mark.parametrize("warmup", [0.0, 0.01, 0.5, 0.99])
def test_rates_of_few_steps(schedule: Any, warmup: float) -> None:
    for steps in (1, 2, 3, 7):
        rates = learning_rates(Recipe(learning_rate=0.1, schedule=schedule, warmup=warmup), steps)
        assert len(rates) == steps
        assert all(0 <= rate <= 0.1 + 1e-12 for rate in rates)
        assert rates[0] > 0


# augmentation


def batch(n: int = 400, height: int = 10, width: int = 30, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    # no zeros inside, so that what comes in from outside can be told
    return torch.randint(1, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)


def draw(images: Tensor, *kinds: str, seed: int = 0) -> Tensor:
    recipe = Recipe(augment=kinds)  # type: ignore[arg-type]
    return augmented(images, recipe, torch.Generator().manual_seed(seed))


def test_nothing_asked_nothing_done() -> None:
    images = batch(5)
    assert torch.equal(draw(images), images)


def test_flip_mirrors_about_half() -> None:
    images = batch()
    flipped = draw(images, "flip")
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert abs(float(mirrored.float().mean()) - 0.5) < 0.1


def test_shift_moves_by_at_most_the_reach_and_lets_zeros_in() -> None:
    images = batch()
    reach = 30 // 14
    shifted = draw(images, "shift")
    assert shifted.shape == images.shape
    padded = F.pad(images, (reach,) * 4)
    met: dict[tuple[int, int], int] = {}
    for image, moved in zip(padded, shifted, strict=True):
        fits = [
            (y, x)
            for y in range(2 * reach + 1)
            for x in range(2 * reach + 1)
            if torch.equal(image[:, y : y + 10, x : x + 30], moved)
        ]
        assert len(fits) == 1
        met[fits[0]] = met.get(fits[0], 0) + 1
    assert len(met) == (2 * reach + 1) ** 2  # rows and columns move on their own
    assert max(met.values()) < 3 * len(images) / len(met)


def test_small_images_move_by_one() -> None:
    images = batch(200, 8, 8, 1)
    shifted = draw(images, "shift")
    zeros = (shifted == 0).sum((1, 2, 3))
    assert set(zeros.tolist()) == {0, 8, 15}  # none, a row or column, or both


def test_cutout_makes_one_gray_square() -> None:
    images = batch(300, 16, 16, 3).clamp_(max=127)
    cut = draw(images, "cutout")
    changed = (cut != images).any(1)
    assert (cut.permute(0, 2, 3, 1)[changed] == 128).all()
    side = 16 // 4
    for hole in changed:
        rows, columns = torch.where(hole)
        assert len(rows) > 0
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert len(rows) == height * width, "not a rectangle"
        assert max(height, width) <= side
    assert int(changed.sum((1, 2)).max()) == side**2
    assert changed.any(0).all(), "some pixel is never covered"


@pytest.mark.parametrize("kinds", [("flip",), ("shift",), ("cutout",), ("flip", "shift", "cutout")])
def test_augmentation_is_the_generator_s(kinds: tuple[str, ...]) -> None:
    images = batch(50)
    kept = images.clone()
    assert torch.equal(draw(images, *kinds, seed=3), draw(images, *kinds, seed=3))
    assert not torch.equal(draw(images, *kinds, seed=3), draw(images, *kinds, seed=4))
    assert torch.equal(images, kept), "the images themselves were changed"


# resizing


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (28, 14), (40, 40)])
def test_resize_is_antialiased(size: tuple[int, int]) -> None:
    images = batch(1100, 28, 28, 1)
    found = resize(images, size)
    expected = F.interpolate(images.float(), size, mode="bilinear", antialias=True).round().clamp(0, 255)
    assert found.dtype == torch.uint8
    assert torch.equal(found.float(), expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_resize_to_the_same_size_changes_nothing() -> None:
    images = batch(3, 8, 8)
    assert torch.equal(resize(images, (8, 8)), images)


def test_resize_averages_what_it_leaves_out() -> None:
    stripes = torch.zeros((1, 1, 32, 32), dtype=torch.uint8)
    stripes[..., ::2] = 200
    inner = resize(stripes, (8, 8))[0, 0, :, 1:-1]
    assert ((inner >= 95) & (inner <= 105)).all()  # without antialiasing: 0 or 200


# evaluation


class Linear(nn.Module):
    """Logits that are a fixed function of the pixels."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(pixels, classes)
        nn.init.normal_(self.layer.weight, std=0.2, generator=torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("classes", [3, 12])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_metrics_are_scikit_learn_s(classes: int, split: str) -> None:
    rng = np.random.default_rng(classes)

    def part(n: int) -> Split:
        # skewed classes, the last one missing: balanced precision counts only those that are there
        labels = np.minimum(rng.geometric(0.4, n) - 1, classes - 2)
        return Split(rng.integers(0, 256, (n, 8, 8, 1), dtype=np.uint8), labels.astype(np.int64))

    images = ImageSet("random", part(50), part(1200), part(700), tuple(map(str, range(classes))))
    t = trainer(images=images)
    network = Linear(64, classes)
    found = t.evaluate(network, CONFIGURATION, split)
    there = images.splits[split]
    x = (torch.from_numpy(there.images).permute(0, 3, 1, 2).float() / 255 - t.mean[0]) / t.std[0]
    with torch.no_grad():
        logits = network(x).double()
    truth, names = there.labels, list(range(classes))
    assert set(np.unique(found.values)) <= {0.0, 1.0}
    assert found.precision == accuracy_score(truth, logits.argmax(1).numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        balanced = balanced_accuracy_score(truth, logits.argmax(1).numpy())
    assert found.figures["balanced"] == pytest.approx(balanced)
    assert found.figures["nll"] == pytest.approx(
        log_loss(truth, torch.softmax(logits, 1).numpy(), labels=names), rel=1e-4
    )
    if classes >= 10:
        top5 = top_k_accuracy_score(truth, logits.numpy(), k=5, labels=names)
        assert found.figures["top5"] == pytest.approx(top5)
    else:
        assert "top5" not in found.figures


def test_images_enter_normalised_by_the_training_split() -> None:
    t = trainer(images=made(channels=3))
    seen: list[Tensor] = []

    class Watch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.flatten(1)[:, :3]

    t.evaluate(Watch(), CONFIGURATION, "train")
    pixels = torch.cat(seen)
    assert pixels.shape == (240, 3, 8, 8)
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_images_of_one_colour_are_no_division_by_zero() -> None:
    flat = Split(np.full((20, 8, 8, 1), 7, np.uint8), np.arange(20) % 2)
    trained = trainer(images=ImageSet("flat", flat, flat, flat, ("a", "b"))).train(CONFIGURATION, 0)
    assert math.isfinite(trained.validation.figures["nll"])


def test_resized_images_are_kept_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpmodel.training.resized.RESIZED_BYTES", 240 * 64 + 240 * 36)
    t = trainer()
    first = t.resized.split("train", (8, 8))
    assert t.resized.split("train", (8, 8)) is first
    t.resized.split("train", (6, 6))
    assert t.resized.split("train", (8, 8)) is first
    t.resized.split("train", (7, 7))  # now 6 x 6, used longest ago, has to go; and 8 x 8 too
    assert list(t.resized._kept) == [("train", 7, 7)]


# weights


def test_weights_come_back(tmp_path: Path) -> None:
    t = trainer()
    trained = t.train(CONFIGURATION, 0)
    path = tmp_path / "weights" / "f=4,s=8_seed0.pt"
    trained.save(path)
    network = t.restore(CONFIGURATION, path)
    again = t.evaluate(network, CONFIGURATION, "validation")
    assert np.array_equal(again.values, trained.validation.values)
    assert not network.training
    assert set(torch.load(path, weights_only=True)) == set(weights(trained))


class Harm:
    def __reduce__(self) -> Any:
        return (print, ("harm was done",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_are_not_these_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    t = trainer()
    path = tmp_path / "w.pt"
    t.train(CONFIGURATION, 0).save(path)
    whole = path.read_bytes()
    contents: list[bytes] = [
        b"",
        b"x",
        b"garbage" * 100,
        b"PK\x03\x04",
        pickle.dumps(Harm()),
        pickle.dumps([1]),
    ]
    contents += [whole[:n] for n in (1, 10, 100, len(whole) // 2, len(whole) - 10)]
    contents += [bytes([first]) + bytes(range(256)) for first in range(0, 256, 5)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(BadInputError, match="not this network's weights") as caught:
            t.restore(CONFIGURATION, path)
        assert str(caught.value).startswith(str(path))
        assert len(str(caught.value).splitlines()) == 1
    torch.save(Harm(), path)
    with pytest.raises(BadInputError, match="not this network's weights"):
        t.restore(CONFIGURATION, path)
    assert "harm" not in capsys.readouterr().out
    for thing in ([1, 2], {"a": torch.zeros(1)}, t.new_network({**CONFIGURATION, "f": 8}, 0).state_dict()):
        torch.save(thing, path)
        with pytest.raises(BadInputError, match="not this network's weights"):
            t.restore(CONFIGURATION, path)
    for missing in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(BadInputError, match="cannot read"):
            t.restore(CONFIGURATION, missing)


def test_plans_say_what_they_are() -> None:
    assert str(PLAN) == "cpu float32 channels-last threads=1"
    assert default_plan(threads=2).threads == 2


def test_resized_images_are_made_once_and_shared(tmp_path: Path) -> None:
    alone = trainer().resized.split("train", (6, 6))
    first = Trainer(IMAGES, PlainFamily(), SHORT, cache=tmp_path)
    assert torch.equal(first.resized.split("train", (6, 6)), alone)
    kept = tmp_path / "train_6x6.npy"
    made = kept.stat().st_mtime_ns
    other = Trainer(IMAGES, PlainFamily(), SHORT, cache=tmp_path)
    assert torch.equal(other.resized.split("train", (6, 6)), alone)
    assert kept.stat().st_mtime_ns == made
    assert torch.equal(other.resized.split("train", (8, 8)), trainer().resized.split("train", (8, 8)))
    assert not list(tmp_path.glob("*8x8*"))  # as they are: nothing to make
    assert other.resized.split("train", (6, 6)).is_contiguous(memory_format=torch.channels_last)
