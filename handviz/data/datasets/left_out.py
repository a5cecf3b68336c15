"""What of a download could not be used, put into sentences: how many of which kind, and the first of each by name."""

from collections.abc import Iterable


def sentences_on(problems: Iterable[str]) -> tuple[str, ...]:
    """For ``HandDataset.remarks``, from one text a sample: empty if it can be used, else KIND: WHAT EXACTLY."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        if problem:
            kind, _, detail = str(problem).partition(": ")
            kinds.setdefault(kind, []).append(detail)
    return tuple(sentence_on(kind, len(details), details[0]) for kind, details in kinds.items())


def sentence_on(kind: str, count: int, first: str) -> str:
    """One kind of problem, how often it was met, and where first."""
    return (
        f"1 sample left out, {kind}: {first}."
        if count == 1
        else f"{count:,} samples left out, {kind}, the first: {first}."
    )
