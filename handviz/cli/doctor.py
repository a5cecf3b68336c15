"""``handviz doctor``: check this machine and the model files, or a downloaded dataset, and say what to do."""

import argparse
import sys
from pathlib import Path

from handviz.cli.checks import Finding, examine
from handviz.core.errors import HandvizError

PICTURES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The doctor needs to be told nothing; a dataset is looked through where one is named."""
    parser.epilog = (
        "Exit status 1 if something that is needed fails; warnings do not count. Of a dataset: if no split can be "
        "used, or none of a split's pictures."
    )
    parser.add_argument("--dataset", metavar="NAME", help="check a download instead: freihand, dexycb, ...")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder that the dataset was unpacked into")
    parser.add_argument(
        "--pictures", default=str(PICTURES), metavar="N", help="pictures of each split to open, or all (%(default)s)"
    )
    parser.add_argument(
        "--hand-model", type=Path, metavar="FILE", help="your MANO_RIGHT.pkl, to be held against the dataset's points"
    )


def report(finding: Finding) -> str:
    """One line; what to do stands behind an arrow."""
    remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:5}{finding.title:13} {finding.detail}{remedy}\n"


def run(arguments: argparse.Namespace) -> int:
    """Print one line a check; returns 1 if something that is needed fails."""
    if (arguments.dataset is None) != (arguments.root is None):
        raise HandvizError("--dataset NAME and --root DIR go together")
    if arguments.dataset is not None:
        # Loaded here: without its packages the doctor must still say which are missing.
        from handviz.cli.dataset_report import report_dataset

        pictures = picture_count(arguments.pictures)
        return report_dataset(arguments.dataset, arguments.root, pictures, arguments.hand_model)
    findings = examine()
    for finding in findings:
        sys.stdout.write(report(finding))
    return int(any(finding.state == "FAIL" for finding in findings))


def picture_count(text: str) -> int | None:
    """A number of at least 1, or None for all."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise HandvizError(f"--pictures is {text}: give a number of at least 1, or all")
    return int(text)
