"""An assessment as tables for a terminal."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fpga_facedet.assessment.assess import Assessment, Score
from fpga_facedet.evaluation.mistakes import FALSE_KINDS, FATES, Mistakes


def describe(assessment: Assessment) -> RenderableType:
    """Return tables: average precision, by size with what became of the faces, false boxes, agreement."""
    score = assessment.score
    faces = score.scored.faces
    head = (
        f"{assessment.model} by the {assessment.engine} engine on {assessment.pictures} pictures "
        f"of {assessment.data} with {faces:,} faces"
    )
    parts: list[RenderableType] = [Text(head), _precisions(assessment), _sizes(score), _false_boxes(score.mistakes)]
    if assessment.agreement is not None:
        parts.append(Text(assessment.agreement.describe()))
    if assessment.broken:
        more = " ..." if len(assessment.broken) > 3 else ""
        names = ", ".join(assessment.broken[:3])
        fate = "do not count" if score.wider is None else "count in easy, medium and hard alone, as missed"
        parts.append(Text(f"{len(assessment.broken)} pictures cannot be read and {fate}: {names}{more}"))
    if assessment.stopped:
        parts.append(Text(f"Stopped early: these are the figures of the first {assessment.pictures} pictures."))
    return Group(*parts)


def _precisions(assessment: Assessment) -> Table:
    ours = assessment.score.average_precisions()
    table = Table("average precision", *("AP@0.5" if name == "ap50" else name for name in ours))
    table.add_row(assessment.engine, *(f"{value:.3f}" for value in ours.values()))
    if assessment.against is not None and assessment.agreement is not None:
        theirs = assessment.against.average_precisions()
        table.add_row(assessment.agreement.engines[1], *(f"{value:.3f}" for value in theirs.values()))
        table.add_row("difference", *(f"{ours[name] - theirs[name]:+.5f}" for name in ours))
    return table


def _sizes(score: Score) -> Table:
    title = f"faces by size in the detector's input; what becomes of them at score {score.mistakes.score_threshold:.3f}"
    # Without lines between the columns it fits a terminal of 80 characters.
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("pixels", no_wrap=True)
    for heading in ("faces", "AP@0.5", *FATES):
        table.add_column(heading, justify="right")
    for band, fates in zip(score.bands, score.mistakes.fates.tolist(), strict=True):
        ap = "-" if band.average_precision is None else f"{band.average_precision:.3f}"
        table.add_row(band.band.name, f"{band.faces:,}", ap, *(f"{count:,}" for count in fates))
    total = score.mistakes.fates.sum(axis=0).tolist()
    table.add_row("all", f"{score.scored.faces:,}", f"{score.scored.average_precision:.3f}", *(f"{n:,}" for n in total))
    return table


def _false_boxes(mistakes: Mistakes) -> Text:
    kinds = ", ".join(
        f"{count:,} {kind}" for kind, count in zip(FALSE_KINDS, mistakes.false_boxes.tolist(), strict=True)
    )
    return Text(
        f"At score {mistakes.score_threshold:.3f}: precision {mistakes.precision:.3f}, recall {mistakes.recall:.3f}; "
        f"{int(mistakes.false_boxes.sum()):,} false boxes ({kinds}); "
        f"{mistakes.excused:,} in ignored regions do not count"
    )
