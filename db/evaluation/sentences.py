"""What is said of an evaluation in words, on the terminal, on the page and in the model card alike."""

from typing import Final

from db.evaluation.evaluate import Evaluation

#: What a finding's figures say if the interval of its AUROC holds that of guessing.
NO_BETTER_THAN_GUESSING: Final = "not shown to be better than guessing on these scans (the interval of AUROC holds 0.5)"
_GUESSING: Final = 0.5


def guessed_findings(evaluation: Evaluation) -> list[str]:
    """The findings whose interval of AUROC holds 0.5, which is the AUROC of guessing."""
    aurocs = {finding: result.figures.auroc for finding, result in evaluation.findings.items()}
    return [
        finding
        for finding, auroc in aurocs.items()
        if auroc.low is not None and auroc.high is not None and auroc.low <= _GUESSING <= auroc.high
    ]
