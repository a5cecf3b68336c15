"""``handviz doctor``: check this machine and the model files, and say what to do."""

import argparse
import sys

from handviz.doctor import Finding, examine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The doctor needs to be told nothing."""
    parser.epilog = "Exit status 1 if something that is needed fails; warnings do not count."


def report(finding: Finding) -> str:
    """One line; what to do stands behind an arrow."""
    remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:5}{finding.title:13} {finding.detail}{remedy}\n"


def run(arguments: argparse.Namespace) -> int:
    """Print one line a check; returns 1 if something that is needed fails."""
    findings = examine()
    for finding in findings:
        sys.stdout.write(report(finding))
    return int(any(finding.state == "FAIL" for finding in findings))
