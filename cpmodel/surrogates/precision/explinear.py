"""Exponential plus linear model of the precision (Ke, Cao, Lv, eq. 2-6), held within its limits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpmodel.errors import FitError
from cpmodel.space import Floats
from cpmodel.surrogates.estimator import coefficients, variances
from cpmodel.surrogates.groups import Groups
from cpmodel.surrogates.precision import separable
from cpmodel.surrogates.precision.model import PrecisionModel
from cpmodel.surrogates.precision.separable import Basis, SeparableFit
from cpmodel.surrogates.predictive import Link, Predictive

Loss = Literal["linear", "soft_l1", "huber"]
Form = Literal["full", "exponential", "linear", "constant"]
Columns = NDArray[np.int64]

# No prediction over the domain leaves these
LIMITS = (-0.05, 1.05)
# and on the lattice none leaves these, so that none between its rows leaves those
_HELD = (LIMITS[0] + 0.01, LIMITS[1] - 0.01)
# Scatter believed before the data, worth one training
_PRIOR_SCATTER = 0.01
# Rows of the lattice over the domain on which the limits are enforced
_LATTICE = 3000
# How far outside them is rounding
_TOLERATED = 1e-6
# Most rounds of drawing values in
_DRAWN_IN = 4
# Most corners of the lattice at which they are drawn in
_CORNERS = 64
# and so many rows more each round, those farthest outside the limits
_WORST = 20
# Most rounds of weighting rows by their residuals
_REWEIGHTINGS = 12
# Random exponents of each of two kinds that are tried out
_TRIED = 100
# and the best of them that are searched from: fewer miss optima whose surroundings are poor, as
# scripts/bench/surrogates.py tells by its comparison with 20 starts of a general solver
_SEARCHED = 48
# What exponents of the second kind are multiplied by, half of them, to be nearly zero
_NEARLY_ZERO = 0.03
# Sums of squares nearer than this, relatively, are of one optimum
_SAME = 1e-3
# The exponential may change by e to this over the domain of one parameter
_SWING = 8.0
# and b1 may differ from the exponential's size on the domain by e to this, shared by all parameters
_RANGE = 200.0
_LEAST_WIDTH = 1e-9


@dataclass(frozen=True, eq=False)
class Terms:
    """Columns of the exponential and of the linear part.

    Parameters
    ----------
    scale, low, high : shape (d,): what gamma is relative to, and its range
    exponential, linear : columns with a term c / gamma, and with a term d gamma
    codes : (column, code) with a term of its own

    Notes
    -----
    theta: the fall of the exponent from each exponential column's greatest to its least gamma. beta: the size
    of the exponential at the greatest gammas (if there is one), the rise over each linear column's range, the
    effect of each code, and the value where all of these are zero.
    """

    scale: Floats
    low: Floats
    high: Floats
    exponential: Columns
    linear: Columns
    codes: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, X: Floats, domain: Floats, categorical: Mapping[int, Sequence[float]], scale: Floats) -> Self:
        """All terms that a table X, shape (n, d), can have, with the codes of its categorical columns."""
        low, high = (domain / scale[:, None]).T
        codes = tuple((at, float(code)) for at in sorted(categorical) for code in categorical[at][1:])
        least = X.min(axis=0)
        varied = (least < X.max(axis=0)) & (high - low > _LEAST_WIDTH * np.maximum(abs(low), abs(high)))
        varied[list(categorical)] = False
        exponential = np.flatnonzero(varied & (low > 0) & (least > 0))
        return cls(scale, low, high, exponential, np.flatnonzero(varied), codes)

    def of_form(self, form: Form) -> Self:
        """The terms that a form has; "exponential" has the linear ones of columns without 1/gamma."""
        none = np.empty(0, dtype=np.int64)
        if form == "constant":
            return replace(self, exponential=none, linear=none, codes=())
        if form == "exponential":
            return replace(self, linear=np.setdiff1d(self.linear, self.exponential))
        return self if form == "full" else replace(self, exponential=none)

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return len(self.exponential) + (len(self.exponential) > 0) + len(self.linear) + len(self.codes) + 1

    def _inverse_width(self) -> Floats:
        """1/low - 1/high of gamma for the exponential columns."""
        return np.asarray(1.0 / self.low[self.exponential] - 1.0 / self.high[self.exponential])

    def bounds(self) -> tuple[Floats, Floats]:
        """Least and greatest theta."""
        high = self.high[self.exponential]
        # theta_i / (width_i high_i) is what it adds to log b1
        most = _RANGE / max(len(high), 1) * self._inverse_width() * high
        upper = np.minimum(_SWING, most)
        return -upper, upper

    def parts(self, X: Floats) -> tuple[Floats, Floats]:
        """1/gamma of the exponential columns, from 0 at the greatest to 1; the columns of the linear part."""
        at, low, high = self.exponential, self.low, self.high
        # a value that is not positive has no 1/gamma: it counts as one far below the domain
        gamma = np.maximum(X[:, at] / self.scale[at], 0.5 * low[at])
        inverse = (1.0 / gamma - 1.0 / high[at]) / self._inverse_width()
        columns = [(X[:, i] / self.scale[i] - low[i]) / (high[i] - low[i]) for i in self.linear]
        columns += [(X[:, index] == code).astype(np.float64) for index, code in self.codes]
        return inverse, np.stack([*columns, np.ones(len(X))], axis=1)

    def basis(self, X: Floats, root_weight: Floats | None = None) -> Basis:
        """Phi(theta) and its derivatives at the rows of X, each row times its root weight."""
        inverse, linear = self.parts(X)
        root = np.ones(len(X)) if root_weight is None else root_weight
        weighted = linear * root[:, None]

        def at(theta: Floats) -> tuple[Floats, Floats]:
            if not len(self.exponential):
                return weighted, np.zeros((0, *weighted.shape))
            exponential = np.exp(-inverse @ theta) * root
            phi = np.concatenate([exponential[:, None], weighted], axis=1)
            derivatives = np.zeros((len(theta), *phi.shape))
            derivatives[:, :, 0] = -(inverse * exponential[:, None]).T
            return phi, derivatives

        return at

    def jacobian(self, X: Floats, theta: Floats, beta: Floats) -> Floats:
        """Derivatives of the values at the rows of X by theta, then by beta: shape (n, size)."""
        phi, derivatives = self.basis(X)(theta)
        return np.concatenate([(derivatives @ beta).T, phi], axis=1)

    def readable(self, names: Sequence[str], theta: Floats, beta: Floats) -> tuple[list[str], Floats, Floats]:
        """Names and values of b1, c, d, e in units of gamma, and their derivatives by theta and beta."""
        q, linear = len(theta), self.linear
        labels: list[str] = []
        values: list[float] = []
        # the linear part has its columns in the same order, and codes and the constant are as they are read
        back = np.eye(q + len(beta))
        if q:
            width = self._inverse_width()
            lift = 1.0 / (width * self.high[self.exponential])
            size = float(np.exp(theta @ lift))
            labels += ["b1", *(f"c {names[i]}" for i in self.exponential)]
            values += [beta[0] * size, *(-theta / width)]
            back[: q + 1] = 0.0
            back[0, :q], back[0, q] = beta[0] * size * lift, size
            back[np.arange(1, q + 1), np.arange(q)] = -1.0 / width
        first = len(beta) - 1 - len(linear) - len(self.codes)
        rise, rises = self.high[linear] - self.low[linear], beta[first : first + len(linear)]
        place = q + first + np.arange(len(linear))
        back[place, place], back[-1, place] = 1.0 / rise, -self.low[linear] / rise
        labels += [f"d {names[i]}" for i in linear]
        labels += [f"effect of {names[i]}={code:g}" for i, code in self.codes]
        constant = np.subtract.reduce([beta[-1], *(rises * self.low[linear] / rise)])
        values += [*(rises / rise), *beta[first + len(linear) : -1], constant]
        return [*labels, "e"], np.array(values), back


@dataclass(eq=False, repr=False, kw_only=True)
class ExponentialLinear(PrecisionModel):
    """P = b1 exp(sum_i c_i / gamma_i) + sum_i d_i gamma_i + e, with gamma_i = x_i / scale_i.

    Parameters
    ----------
    form : "full", "exponential" (no linear terms), "linear" (no exponential) or "constant"; "auto" is the
        first of them that has no more coefficients than there are configurations
    scale : shape (d,), what gamma is relative to: the baseline's values; the greatest of the domain when None
    loss : "linear" (least squares), "soft_l1" or "huber" (rows far off count less)
    domain, names, categorical : as in `PrecisionModel`; the predictions' limits hold over the domain

    Attributes
    ----------
    form_ : the form that was used
    coefficients_ : ``b1``, ``c <name>``, ``d <name>``, ``e``, in units of gamma
    sse_ : weighted sum of squared residuals of the rows

    Notes
    -----
    Source: Ke, Cao, Lv, eq. 2 (one column), 3-5 (two), 6 (four). b1, d, e are solved exactly for every c
    (variable projection), from several starts. |c_i| is bounded so that the exponential changes by at most
    e^8 over the domain of one parameter, and the values over the domain are held within [-0.05, 1.05].
    A column with values that are zero or negative, or codes, has no 1/gamma: only linear terms.
    """

    name = "explinear"

    form: Literal["auto"] | Form = "auto"
    scale: ArrayLike | None = None
    loss: Loss = "linear"

    terms_: Terms = field(init=False)
    form_: Form = field(init=False)
    theta_: Floats = field(init=False)
    beta_: Floats = field(init=False)
    covariance_: Floats = field(init=False)
    scatter_: float = field(init=False)
    noise_: float = field(init=False)
    freedom_: float = field(init=False)
    sse_: float = field(init=False)

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        return Link("precision")

    def _fit(self, groups: Groups) -> None:
        X = groups.X
        if self.loss not in get_args(Loss):
            raise FitError(f"loss: expected linear, soft_l1 or huber, got {self.loss}")
        if self.form not in ("auto", *get_args(Form)):
            raise FitError(f"form: expected auto, full, exponential, linear or constant, got {self.form}")
        terms = Terms.of(X, self._domain(X), self._codes(X), self._scale(X))
        self.form_ = self._chosen_form(terms, len(groups))
        self.terms_ = terms.of_form(self.form_)
        lattice = self._lattice(X)
        fit = self._search(groups, groups.weight, lattice)
        if self.loss != "linear":
            fit = self._reweighted(fit, groups, lattice)
        self._settle(fit, groups, lattice)

    def _scale(self, X: Floats) -> Floats:
        """What gamma is relative to, shape (d,); 1 for columns that cannot be scaled."""
        given = self._domain(X)[:, 1] if self.scale is None else np.asarray(self.scale, dtype=np.float64)
        if given.shape != (X.shape[1],) or not np.all(np.isfinite(given)):
            raise FitError(f"scale: expected {X.shape[1]} finite values, got {given.tolist()}")
        scalable = given > 0
        scalable[list(self.categorical)] = False
        return np.where(scalable, given, 1.0)

    def _chosen_form(self, terms: Terms, rows: int) -> Form:
        """The form asked for, or the largest the rows can support; warns when that is doubtful."""
        sizes: dict[Form, int] = {form: terms.of_form(form).size for form in get_args(Form)}
        largest = next(form for form, size in sizes.items() if size <= rows)
        wanted = "full" if self.form == "auto" else self.form
        told = f"{rows} configurations for {sizes[wanted]} coefficients of form '{wanted}' are"
        if rows < sizes[wanted]:
            use = " and is used" if self.form == "auto" else ""
            self._warn(f"{told} too few; form '{largest}' has {sizes[largest]}{use}")
        elif self.form == "auto" and rows < 2 * sizes["full"] and sizes["exponential"] < sizes["full"]:
            self._warn(f"{told} few; form 'exponential' has {sizes['exponential']}")
        return largest if self.form == "auto" else self.form

    def _search(
        self, groups: Groups, weight: Floats, lattice: Floats, start: Floats | None = None
    ) -> SeparableFit:
        """Best fit to weighted rows whose values on the lattice stay within the limits."""
        root = np.sqrt(weight / weight.max())
        basis, bounds, y = self.terms_.basis(groups.X, root), self.terms_.bounds(), groups.y * root
        on_lattice = self.terms_.basis(lattice)

        def violated_by(fit: SeparableFit) -> Floats:
            value = on_lattice(fit.theta)[0] @ fit.beta
            return np.maximum(np.maximum(_HELD[0] - value, value - _HELD[1]), 0.0)

        best: SeparableFit | None = None
        for theta in self._optima(groups.X, y, root, bounds) if start is None else (start,):
            fit = separable.fit_separable(basis, y, theta, bounds)
            within = bool(violated_by(fit).max() <= _TOLERATED)
            if within:
                break
            best = best or fit
        if best is None:
            return fit
        # drawn in, the best of all may still be better than the best within the limits: drawn in at the first
        # corners of the lattice, and then at whatever else turns out to leave them
        extreme = (lattice == lattice.min(axis=0)) | (lattice == lattice.max(axis=0))
        pressed = np.flatnonzero(extreme.all(axis=1))[:_CORNERS]
        for _ in range(_DRAWN_IN):
            violated = violated_by(best)
            if violated.max() <= _TOLERATED:
                break
            pressed = np.union1d(pressed, np.argsort(-violated)[:_WORST])
            places = self.terms_.basis(lattice[pressed])
            best = separable.fit_separable_within(basis, y, best.theta, bounds, places, _HELD)
        return fit if within and fit.sse <= best.sse else best

    def _optima(self, X: Floats, y: Floats, root: Floats, bounds: tuple[Floats, Floats]) -> Iterator[Floats]:
        """Exponents of least squares, the best first; y is weighted by the root weights."""
        upper = bounds[1]
        if not len(upper):
            yield np.zeros(0)
            return
        problem = separable.OneExponential.of(*self.terms_.parts(X), y, root)
        alike = np.outer([0.05, 0.3, -0.1], upper)
        rng = np.random.default_rng(0)
        tried = rng.uniform(-0.5, 0.8, (2, _TRIED, len(upper))) * upper
        # nearly zero exponents, whose parameters act by products with the others, have optima of their own
        tried[1] *= np.where(rng.random(tried[1].shape) < 0.5, _NEARLY_ZERO, 1.0)
        best = [some[np.argsort(problem.sums(some), kind="stable")[:_SEARCHED]] for some in tried]
        starts = np.concatenate([alike, *best])
        last = -np.inf
        for theta, squares in zip(*problem.searched(starts, bounds), strict=True):
            if squares > last * (1.0 + _SAME):
                yield theta
                last = squares

    def _lattice(self, X: Floats) -> Floats:
        """Rows over the domain, among them its corners as far as they are few."""
        domain, codes = self._domain(X), self._codes(X)
        varied = [i for i in range(X.shape[1]) if domain[i, 0] < domain[i, 1]]
        levels = next((n for n in (13, 9, 7, 5, 4, 3) if n ** len(varied) <= _LATTICE), 2)
        axes = []
        for index in varied:
            low, high = domain[index]
            spaced = np.geomspace if low > 0 else np.linspace
            axes.append(np.array(codes[index]) if index in codes else spaced(low, high, levels))
        if np.prod([float(len(axis)) for axis in axes]) <= 2 * _LATTICE:
            points = np.array(list(itertools.product(*axes)), dtype=np.float64)
        else:
            generator = np.random.default_rng(0)
            points = np.stack([generator.choice(axis[[0, -1]], _LATTICE) for axis in axes], axis=1)
        lattice = np.repeat(X[:1], len(points), axis=0)
        lattice[:, varied] = points.reshape(len(points), len(varied))
        return lattice

    def _reweighted(self, fit: SeparableFit, groups: Groups, lattice: Floats) -> SeparableFit:
        """Refit with rows far off, by the robust scale of the residuals, counting less each time."""
        for _ in range(_REWEIGHTINGS):
            residual = groups.y - self.terms_.basis(groups.X)(fit.theta)[0] @ fit.beta
            scale = 1.4826 * float(np.median(np.abs(residual))) + 1e-9
            t = np.abs(residual) / (1.345 * scale)
            trust = 1.0 / np.sqrt(1.0 + t * t) if self.loss == "soft_l1" else 1.0 / np.maximum(t, 1.0)
            before = fit.theta
            fit = self._search(groups, groups.weight * trust, lattice, before)
            if np.allclose(fit.theta, before, rtol=1e-4, atol=1e-4):
                break
        return fit

    def _settle(self, fit: SeparableFit, groups: Groups, lattice: Floats) -> None:
        """Keep the fit, its covariance and its scatter; draw in what still leaves the limits."""
        middle = float(np.average(groups.y, weights=groups.weight))
        spread = self.terms_.basis(lattice)(fit.theta)[0] @ fit.beta - middle
        # between the enforced rows a value may pass a limit by a trifle: draw the surface to its middle
        room = np.where(spread > 0, _HELD[1] - middle, middle - _HELD[0])
        drawn_in = float(np.min(room / np.maximum(np.abs(spread), 1e-300), initial=1.0))
        self.theta_, self.beta_ = fit.theta, fit.beta * drawn_in
        self.beta_[-1] += (1.0 - drawn_in) * middle
        if not fit.converged:
            self._warn("the search for the exponents did not converge")
        at_bound = np.abs(fit.theta) >= self.terms_.bounds()[1] * (1.0 - 1e-6)
        if at_bound.any():
            names = [self._column_names()[self.terms_.exponential[i]] for i in np.flatnonzero(at_bound)]
            self._warn(f"the exponent of {', '.join(names)} is at its bound: these rows do not tell it")
        jacobian = self._jacobian(groups.X)
        residual = groups.y - self.surface(groups.X)
        self.sse_ = float(groups.weight @ residual**2) + groups.within
        self.freedom_ = 1.0 + max(float(groups.weight.sum()) - jacobian.shape[1], 0.0)
        self.scatter_ = float(np.sqrt((_PRIOR_SCATTER**2 + self.sse_) / self.freedom_))
        self.noise_ = min(groups.noise_of(self.scatter_), self.scatter_)
        # no row tells the effect of a code that none has
        free = np.concatenate([~at_bound, np.any(jacobian[:, len(at_bound) :] != 0, axis=0)])
        information = (jacobian[:, free].T * groups.weight) @ jacobian[:, free]
        self.covariance_ = np.zeros((len(free), len(free)))
        inverse = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
        self.covariance_[np.ix_(free, free)] = self.scatter_**2 * inverse
        labels, values, back = self.terms_.readable(self._column_names(), self.theta_, self.beta_)
        errors = np.sqrt(np.maximum(np.diag(back @ self.covariance_ @ back.T), 0.0))
        self.coefficients_ = coefficients(labels, values, errors, ~np.any((back != 0) & ~free, axis=1))

    def surface(self, X: ArrayLike) -> Floats:
        """Values of the formula, shape (n,), not cut to [0, 1]; within [-0.05, 1.05] over the domain."""
        basis = self.terms_.basis(np.asarray(X, dtype=np.float64))
        return np.asarray(basis(self.theta_)[0] @ self.beta_)

    def _jacobian(self, X: Floats) -> Floats:
        return self.terms_.jacobian(X, self.theta_, self.beta_)

    def _predictive(self, X: Floats) -> Predictive:
        # what the scatter holds beyond the seeds' noise is misfit, and misfit is not averaged out by seeds
        misfit2 = self.scatter_**2 - self.noise_**2
        scale = np.sqrt(np.maximum(variances(self._jacobian(X), self.covariance_) + misfit2, 0.0))
        return Predictive.of(self.link_, self.surface(X), scale, self.noise_, self.freedom_)

    def _covariance(self, X: Floats) -> Floats:
        jacobian = self._jacobian(X)
        # misfit is smooth: near rows have the same
        return np.asarray(jacobian @ self.covariance_ @ jacobian.T + (self.scatter_**2 - self.noise_**2))
