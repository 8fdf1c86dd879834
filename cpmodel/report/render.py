"""The page as one HTML file that needs nothing but a browser, and asks nothing of anybody else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from pathlib import Path

from cpmodel import numbers
from cpmodel.codec import dump
from cpmodel.files import write_text
from cpmodel.report import agreement, tables
from cpmodel.report.cloud import cloud_data, draw_cloud, draw_paper, paper_data
from cpmodel.report.curves import LEVEL, curves_data, draw_curves, draw_surfaces, surfaces_data
from cpmodel.report.page import Page, Table, spaced
from cpmodel.report.style import DARK, Drawing
from cpmodel.report.training import course_data, draw_course, draw_learning, learning_data, training_facts
from cpmodel.report.words import answer_text, comparison, effort_text

_LEAST_TRAININGS = 3  # below which their order and their curves tell nothing
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(page: Page, path: str | Path) -> None:
    """Write a page, all of it or nothing.

    Parameters
    ----------
    path
        An HTML file; its folder is made if need be.

    Raises
    ------
    BadInputError
        It cannot be written there.
    """
    write_text(path, render(page))


def render(page: Page) -> str:
    """The page as text: a complete HTML document, everything of the user's in it escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"value": numbers.text_of, "spaced": spaced}
    drawings = drawings_of(page)
    plotly, plotly_hash = _plotly()
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        page=page,
        answer=answer_text(page),
        comparison=comparison(page),
        effort=effort_text(page),
        facts=training_facts(page.samples),
        drawings=drawings,
        level=numbers.percent(LEVEL, 0),
        recipe={} if page.settings is None else dump(page.settings.recipe),
        envelope=tables.envelope_table(page),
        band=tables.band_table(page),
        candidates=tables.candidates_table(page),
        attempts=tables.attempts_table(page),
        space=tables.space_table(page),
        samples=tables.samples_table(page),
        models=_models(page),
        figures={d.name: json.loads(d.figure.to_json()) for group in drawings.values() for d in group},
        dark=DARK,
        plotly=plotly,
        script=script,
        style=(_TEMPLATES / "page.css").read_text(encoding="utf-8"),
        # only these two scripts may run, and nothing may be fetched, whatever a study's texts contain
        script_hashes=[_csp_hash(script), plotly_hash],
    )


def _models(page: Page) -> list[tuple[agreement.Fit, str, str, str, Table | None]]:
    """Each fit with what it is of, its errors and the noise of a training in words, and its coefficients."""
    told: list[tuple[agreement.Fit, str, str, str, Table | None]] = []
    for fit in page.precision:
        noise = f" Between seeds: {100 * fit.model.noise_std_:.2g} points of standard deviation."
        errors = agreement.errors_text(fit, page.checked_by)
        told.append((fit, page.metric.label, errors, noise, tables.coefficients_table(fit)))
    if page.modelled is not None:
        label, both = agreement.modelled_cost(page).label, (page.modelled.fit, page.modelled.eq1)
        fits = [fit for fit in both if fit is not None]
        told += [(fit, label, agreement.errors_text(fit), "", tables.coefficients_table(fit)) for fit in fits]
    return told


def drawings_of(page: Page) -> dict[str, list[Drawing]]:
    """The figures of a page by section; what has nothing to show is left out."""
    drawn: dict[str, list[Drawing]] = {
        section: [] for section in ("cloud", "agreement", "curves", "surfaces", "training")
    }
    cloud, paper = cloud_data(page), paper_data(page)
    if len(cloud) > 1:
        drawn["cloud"].append(draw_cloud(cloud, page))
    if paper is not None:
        drawn["cloud"].append(draw_paper(paper, page))
    if fits := agreement.precision_agreement(page):
        drawn["agreement"].append(agreement.draw_precision_agreement(fits, page))
    if fits := agreement.complexity_agreement(page):
        drawn["agreement"].append(agreement.draw_complexity_agreement(fits, page))
    if curves := curves_data(page):
        drawn["curves"] += draw_curves(curves, page)
    if surfaces := surfaces_data(page):
        drawn["surfaces"] += draw_surfaces(surfaces, page)
    (course, precision), learning = course_data(page), learning_data(page)
    if len(course) >= _LEAST_TRAININGS and page.target == page.target:
        drawn["training"].append(draw_course(course, precision, page))
    if len(learning) >= _LEAST_TRAININGS:
        drawn["training"].append(draw_learning(learning, page))
    return drawn


@cache
def _plotly() -> tuple[str, str]:
    """Plotly's script, compressed (a third of its size) as base64, and its hash for the page's policy."""
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    # mtime: the same study gives the same page, byte for byte
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    return packed, _csp_hash(text)


def _csp_hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
