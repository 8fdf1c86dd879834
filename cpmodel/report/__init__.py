"""The report: one self-contained HTML page of a study or a table.

`page.Page` holds the results that a page is drawn from, `build.page_of` gathers them, `render.write_report`
draws it. For each figure a pure function says what is drawn where, and a thin one draws it.
"""
