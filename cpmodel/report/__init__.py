"""The report: one self-contained HTML page of a study.

`ReportContent` is everything a page shows; `page.write_report` writes it. For each figure there is a pure
function ``*_data`` that says what is drawn where, and a thin one that draws it.
"""

from cpmodel.report.content import (
    Attempt,
    CoefficientView,
    CostLine,
    CurveView,
    DataFacts,
    FitView,
    ReportContent,
    Saving,
    SurfaceView,
    Table,
    VerdictView,
    line,
    plane,
)

__all__ = [
    "Attempt",
    "CoefficientView",
    "CostLine",
    "CurveView",
    "DataFacts",
    "FitView",
    "ReportContent",
    "Saving",
    "SurfaceView",
    "Table",
    "VerdictView",
    "line",
    "plane",
]
