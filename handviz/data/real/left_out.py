"""What of a download could not be used, put into sentences: how many of which kind, and the first of each by name."""

from collections.abc import Iterable


def sentences_on(problems: Iterable[str]) -> tuple[str, ...]:
    """For ``HandDataset.remarks``, from one text a sample: empty if it can be used, else KIND: WHAT EXACTLY."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        if problem:
            kind, _, detail = str(problem).partition(": ")
            kinds.setdefault(kind, []).append(detail)
    return tuple(_sentence(kind, details) for kind, details in kinds.items())


def _sentence(kind: str, details: list[str]) -> str:
    if len(details) == 1:
        return f"1 sample left out, {kind}: {details[0]}."
    return f"{len(details)} samples left out, {kind}, the first: {details[0]}."
