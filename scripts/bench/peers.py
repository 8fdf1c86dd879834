"""Other people's regressors, each at its best settings, behind the questions that surrogates.py asks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from scipy import optimize, stats
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from cpmodel.space import Floats

Of = Literal["P", "log error"]
LEVEL = 0.9
STARTS, FEWER_STARTS = 20, 5


def forward(P: Floats, of: Of) -> Floats:
    return P if of == "P" else np.log(1 - P)


def normal_law(mean: Floats, std: Floats, P: Floats, of: Of) -> tuple[Floats, Floats, Floats]:
    """Interval of LEVEL and log density of P, from a normal law of the target."""
    reach = stats.norm.ppf(0.5 + LEVEL / 2) * std
    density = stats.norm.logpdf(forward(P, of), mean, std)
    if of == "P":
        return mean - reach, mean + reach, density
    return 1 - np.exp(mean + reach), 1 - np.exp(mean - reach), density - np.log(1 - P)


class Peer:
    """What is asked of every model."""

    def fit(self, X: Floats, P: Floats, domain: Floats) -> None:
        """Learn from rows X, shape (n, d), of precision P, shape (n,); domain: shape (d, 2)."""
        raise NotImplementedError

    def predict(self, X: Floats) -> Floats:
        """Precision of rows."""
        raise NotImplementedError

    def law(self, X: Floats, P: Floats) -> tuple[Floats, Floats, Floats] | None:
        """Interval of LEVEL for one training, and log density of P; None from a model of points."""
        return None


class Points(Peer):
    """A regressor of the precision over the logs of the parameters that foresees points only."""

    def __init__(self, regressor: Any, of: Of = "P") -> None:
        self.regressor, self.of = regressor, of

    def fit(self, X: Floats, P: Floats, domain: Floats) -> None:
        """Learn from rows."""
        self.regressor.fit(np.log(X), forward(P, self.of))

    def predict(self, X: Floats) -> Floats:
        """Precision of rows."""
        value = self.regressor.predict(np.log(X))
        return np.asarray(value if self.of == "P" else 1 - np.exp(value))


class Process(Peer):
    """scikit-learn's Gaussian process: Matern-5/2, a length a parameter, noise, three starts."""

    def __init__(self, of: Of) -> None:
        self.of = of

    def fit(self, X: Floats, P: Floats, domain: Floats) -> None:
        """Learn from rows."""
        self.low, self.width = np.log(domain[:, 0]), np.log(domain[:, 1] / domain[:, 0])
        kernel = ConstantKernel(1.0, (1e-3, 1e3)) * Matern(
            np.ones(X.shape[1]), (0.05, 100.0), nu=2.5
        ) + WhiteKernel(1e-2, (1e-6, 1.0))
        self.model = GaussianProcessRegressor(
            kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0
        ).fit(self._scaled(X), forward(P, self.of))

    def _scaled(self, X: Floats) -> Floats:
        return np.asarray((np.log(X) - self.low) / self.width)

    def predict(self, X: Floats) -> Floats:
        """Precision of rows."""
        mean = self.model.predict(self._scaled(X))
        return np.asarray(mean if self.of == "P" else 1 - np.exp(mean))

    def law(self, X: Floats, P: Floats) -> tuple[Floats, Floats, Floats]:
        """Interval of LEVEL and log density."""
        # with a noise kernel, its standard deviation is that of a new training
        return normal_law(*self.model.predict(self._scaled(X), return_std=True), P, self.of)


class Kriging(Peer):
    """SMT's kriging with estimated noise on log(1 - P) over the logs of the parameters."""

    def fit(self, X: Floats, P: Floats, domain: Floats) -> None:
        """Learn from rows."""
        from smt.surrogate_models import KRG

        self.low, self.width = np.log(domain[:, 0]), np.log(domain[:, 1] / domain[:, 0])
        self.model = KRG(
            print_global=False, eval_noise=True, poly="linear", corr="matern52", n_start=3, seed=0
        )
        self.model.set_training_values(self._scaled(X), np.log(1 - P))
        self.model.train()

    def _scaled(self, X: Floats) -> Floats:
        return np.asarray((np.log(X) - self.low) / self.width)

    def predict(self, X: Floats) -> Floats:
        """Precision of rows."""
        return 1 - np.exp(self.model.predict_values(self._scaled(X))[:, 0])

    def law(self, X: Floats, P: Floats) -> tuple[Floats, Floats, Floats]:
        """Interval of LEVEL and log density."""
        mean = self.model.predict_values(self._scaled(X))[:, 0]
        noise = float(np.ravel(self.model.optimal_noise)[0]) * float(np.ravel(self.model.y_std)[0]) ** 2
        variance = self.model.predict_variances(self._scaled(X))[:, 0] + noise
        return normal_law(mean, np.sqrt(np.maximum(variance, 1e-10)), P, "log error")


def eq6(gamma: Floats, *coefficients: float) -> Floats:
    """b1 exp(sum c_i / gamma_i) + sum d_i gamma_i + e."""
    d = gamma.shape[1]
    b1, c, linear, e = (
        coefficients[0],
        coefficients[1 : d + 1],
        coefficients[d + 1 : 2 * d + 1],
        coefficients[-1],
    )
    return np.asarray(b1 * np.exp((1 / gamma) @ np.array(c)) + gamma @ np.array(linear) + e)


class Equation6(Peer):
    """Eq. 6 by a general solver, best of 20 random starts (lmfit: 5), exponents bounded as cpmodel's."""

    def __init__(self, by: Literal["curve_fit", "lmfit"]) -> None:
        self.by = by

    def fit(self, X: Floats, P: Floats, domain: Floats) -> None:
        """Learn from rows."""
        self.scale = domain[:, 1]
        gamma, d = X / self.scale, X.shape[1]
        reach = 8.0 / (self.scale / domain[:, 0] - 1)
        high = np.concatenate([[1e4], reach, np.full(d, 1e4), [1e4]])
        generator = np.random.default_rng(0)
        best = np.inf
        for _ in range(STARTS if self.by == "curve_fit" else FEWER_STARTS):
            start = np.concatenate(
                [[1.0], generator.uniform(-0.7, 0.1, d) * reach, generator.normal(0, 0.1, d), [0.0]]
            )
            try:
                found = self._solved(gamma, P, start, high)
            except (RuntimeError, ValueError):
                continue
            sse = float(np.sum((eq6(gamma, *found) - P) ** 2))
            if sse < best:
                best, self.coefficients = sse, found
        if not np.isfinite(best):
            raise RuntimeError("no start converged")

    def _solved(self, gamma: Floats, P: Floats, start: Floats, high: Floats) -> Floats:
        if self.by == "curve_fit":
            return np.asarray(
                optimize.curve_fit(eq6, gamma, P, start, bounds=(-high, high), max_nfev=2000)[0]
            )
        import lmfit

        parameters = lmfit.Parameters()
        for position, (value, most) in enumerate(zip(start, high, strict=True)):
            parameters.add(f"p{position}", value, min=-most, max=most)

        def residual(p: Any) -> Floats:
            return eq6(gamma, *p.valuesdict().values()) - P

        found = lmfit.minimize(residual, parameters, max_nfev=3000, calc_covar=False)
        return np.array(list(found.params.valuesdict().values()))

    def predict(self, X: Floats) -> Floats:
        """Precision of rows."""
        return eq6(X / self.scale, *self.coefficients)


def quadratic(of: Of, degree: int = 2) -> Points:
    """Polynomial of the second degree (or another) with its ridge by generalised cross-validation."""
    ridge = RidgeCV(np.logspace(-6, 1, 22))
    return Points(make_pipeline(StandardScaler(), PolynomialFeatures(degree, include_bias=False), ridge), of)


PEERS: dict[str, Callable[[], Any]] = {
    "GP (scikit-learn) of P": lambda: Process("P"),
    "GP (scikit-learn) of log error": lambda: Process("log error"),
    "random forest": lambda: Points(RandomForestRegressor(200, random_state=0)),
    "extra trees": lambda: Points(ExtraTreesRegressor(200, random_state=0)),
    "gradient boosting": lambda: Points(
        GradientBoostingRegressor(
            n_estimators=300, learning_rate=0.05, max_depth=2, subsample=0.7, random_state=0
        )
    ),
    "quadratic ridge of P": lambda: quadratic("P"),
    "quadratic ridge of log error": lambda: quadratic("log error"),
    "eq. 6 curve_fit": lambda: Equation6("curve_fit"),
}
if importlib.util.find_spec("lmfit"):
    PEERS["eq. 6 lmfit"] = lambda: Equation6("lmfit")
if importlib.util.find_spec("smt"):
    PEERS["kriging (SMT)"] = Kriging
