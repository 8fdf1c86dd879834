"""The page: one HTML file that needs nothing but a browser, and asks nothing of anybody else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import cache
from pathlib import Path

from cpmodel.files import write_text
from cpmodel.report.agreement import (
    agreement_data,
    draw_complexity_agreement,
    draw_precision_agreement,
    errors_text,
)
from cpmodel.report.cloud import cloud_data, draw_cloud, draw_paper, paper_data
from cpmodel.report.content import ReportContent
from cpmodel.report.curves import curves_data, draw_curves
from cpmodel.report.display import percent, quantity, value_text
from cpmodel.report.style import DARK, Drawing
from cpmodel.report.surfaces import draw_surfaces, surfaces_data
from cpmodel.report.tables import (
    attempts_table,
    band_table,
    candidates_table,
    coefficients_table,
    envelope_table,
    samples_table,
    space_table,
)
from cpmodel.report.training import course_data, draw_course, draw_learning, learning_data, training_facts
from cpmodel.report.words import answer_text, comparison, effort_text, page_digits

_LEAST_TRAININGS = 3  # below which their order and their curves tell nothing
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(content: ReportContent, path: str | Path) -> None:
    """Write the page of a study, all of it or nothing.

    Parameters
    ----------
    path
        An HTML file; its folder is made if need be.

    Raises
    ------
    BadInputError
        It cannot be written there.
    """
    write_text(path, render(content))


def render(content: ReportContent) -> str:
    """The page as text: a complete HTML document, everything of the user's in it escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    digits = page_digits(content)
    environment.filters["percent"] = lambda value: percent(value, digits)
    environment.filters["value"] = value_text
    drawings = drawings_of(content, digits)
    plotly, plotly_hash = _plotly()
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        content=content,
        answer=answer_text(content, digits),
        comparison=comparison(content, digits),
        effort=effort_text(content),
        facts=training_facts(content.samples),
        complexity=quantity(content.complexity, content.unit),
        drawings=drawings,
        errors_text=errors_text,
        envelope=envelope_table(content, digits),
        band=band_table(content, digits),
        candidates=candidates_table(content, digits),
        attempts=attempts_table(content, digits),
        space=space_table(content),
        samples=samples_table(content, digits),
        fits=[
            (fit, quantity(fit.quantity, fit.unit).label, coefficients_table(fit))
            for fit in (content.precision_fit, content.paper_fit, *content.complexity_fits)
            if fit is not None
        ],
        figures={d.name: json.loads(d.figure.to_json()) for group in drawings.values() for d in group},
        dark=DARK,
        plotly=plotly,
        script=script,
        style=(_TEMPLATES / "page.css").read_text(encoding="utf-8"),
        # only these two scripts may run, and nothing may be fetched, whatever a study's texts contain
        script_hashes=[_csp_hash(script), plotly_hash],
    )


def drawings_of(content: ReportContent, digits: int) -> dict[str, list[Drawing]]:
    """The figures of a report by section; what has nothing to show is left out."""
    sections = ("cloud", "agreement", "curves", "surfaces", "training")
    drawn: dict[str, list[Drawing]] = {section: [] for section in sections}
    cloud = cloud_data(content, digits)
    if len(cloud) > 1:
        drawn["cloud"].append(draw_cloud(cloud, content))
    paper = paper_data(content, digits)
    if paper is not None:
        drawn["cloud"].append(draw_paper(paper, content))
    by = [fit for fit in (content.precision_fit, content.paper_fit) if fit is not None]
    pairs = [pair for pair in ((agreement_data(fit, digits), fit) for fit in by) if len(pair[0])]
    if pairs:
        drawn["agreement"].append(draw_precision_agreement(pairs))
    pairs = [(agreement_data(fit), fit) for fit in content.complexity_fits]
    pairs = [pair for pair in pairs if len(pair[0])]
    if pairs:
        drawn["agreement"].append(draw_complexity_agreement(pairs))
    curves = curves_data(content, digits)
    if curves:
        drawn["curves"] += draw_curves(curves)
    surfaces = surfaces_data(content, digits)
    if surfaces:
        drawn["surfaces"] += draw_surfaces(surfaces)
    course = course_data(content, digits)
    if len(course.number) >= _LEAST_TRAININGS and course.target == course.target:
        drawn["training"].append(draw_course(course, content))
    learning = learning_data(content)
    if len(learning) >= _LEAST_TRAININGS:
        drawn["training"].append(draw_learning(learning, digits))
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
