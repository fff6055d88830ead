"""`skugraph calibrate`: what plans cost here."""

from __future__ import annotations

from dataclasses import asdict

from api.cli.common import HomeOption, JsonOption, emit, open_settings, progress, say, table

__all__ = ["calibrate"]


def calibrate(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Measure what each plan of a search costs on this machine and these stores; the planner goes by it from then on.

    A few seconds of short probes: once after the stores or the machine changed, or the catalogue grew tenfold.
    `skugraph search … --explain` shows what it comes to.

    Example: `skugraph calibrate`
    """
    from api.fitting import fit
    from kg.stores import open_stores

    with open_stores(open_settings(home, filled=True)) as stores, progress(quiet=as_json) as bar:
        found = fit(stores, bar)
    before, after = asdict(found.before), asdict(found.costs)

    def page() -> None:
        rows = [(name, after[name], "" if name in found.kept else "measured", before[name]) for name in after]
        table(("coefficient", "value", "", "as shipped"), rows)
        say(f"written to {found.path}")

    document = {"costs": after, "shipped": before, "not_measured": list(found.kept), "path": found.path}
    emit(document, as_json, page)
