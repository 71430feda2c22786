"""Renders the model card: what a model is, what it was fitted on and how good it is, in Markdown for people."""

from typing import Final

import jinja2

from db.evaluation.evaluate import GIVEN, Evaluation, describe_clusters
from db.evaluation.format import format_estimate, format_rate, format_threshold, name_threshold
from db.evaluation.sentences import NO_BETTER_THAN_GUESSING, guessed_findings
from trainer.evaluation.tables import (
    choose_main_finding,
    correct_scans,
    format_cases,
    format_patients,
    groups_of,
    has_unknown_labels,
    missing_intervals,
)
from worker.artifacts.manifest import SYNTHETIC_NOTE, Manifest
from worker.images.preprocessing import Preprocessing

MODEL_CARD_FILE: Final = "MODEL_CARD.md"


def render_model_card(manifest: Manifest, evaluation: Evaluation, held_out_note: str | None) -> str:
    """The card as Markdown. Source of its sections: Mitchell et al., Model cards for model reporting, FAT* 2019.

    `held_out_note` is that of `db.metrics.known_patients`.
    """
    environment = card_environment()
    environment.filters |= {
        "estimate": format_estimate,
        "rate": format_rate,
        "threshold_name": name_threshold,
        "patients": format_patients,
        "cases": format_cases,
        "correct": correct_scans,
    }
    main = choose_main_finding(manifest.findings)
    result = evaluation.findings[main]
    groups = groups_of(result)
    return environment.get_template("model_card.md.j2").render(
        manifest=manifest,
        about=manifest.about,
        evaluation=evaluation,
        clusters=describe_clusters(evaluation),
        held_out_note=held_out_note,
        main_finding=main,
        main=result,
        given=GIVEN,
        groups=groups,
        missing=list(missing_intervals({finding: one.figures for finding, one in evaluation.findings.items()})),
        missing_of_groups=list(missing_intervals(groups)),
        guessed=guessed_findings(evaluation),
        no_better=NO_BETTER_THAN_GUESSING,
        has_unknown_labels=has_unknown_labels(evaluation),
        synthetic_note=SYNTHETIC_NOTE,
        images_note=describe_images(manifest.preprocessing),
    )


def card_environment() -> jinja2.Environment:
    """What the templates of all cards are rendered with."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trainer.evaluation", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - Markdown
        keep_trailing_newline=True,
    )
    environment.filters["threshold"] = format_threshold
    return environment


def describe_images(rule: Preprocessing) -> str:
    """How images become pixels, besides their size and colour."""
    depth = f"{rule.bits} of 16 bits" if rule.bits else "16 bits by their own depth"
    crop = ", cut to a square around the middle" if rule.crop == "center" else ""
    scaled = "" if rule.range == (0, 255) else f", scaled to {rule.range[0]:g}..{rule.range[1]:g}"
    return f"DICOM films in the rendering `{rule.rendering}`, {depth}{crop}{scaled} (pixel rule {rule.rule})"
