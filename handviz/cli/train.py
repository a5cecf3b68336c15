"""``handviz train``: train one model of a family on rendered hands or datasets.

The options are those of the family's own configuration, so that the command line is read only once its ``--family`` is
known.
"""

from collections.abc import Sequence
from dataclasses import field, make_dataclass
from typing import Annotated, Any

from handviz.core.arguments import HandModelFile, Only, Option
from handviz.core.output import print_result
from handviz.hand_models.choice import hand_model
from handviz.training.checkpoint import FIRST_FAMILY
from handviz.training.families import train_family, trainable_families, training_family

OPTION = "--family"


def arguments_of(name: str) -> type[Any]:
    """Return the dataclass of the options by which a family is trained."""
    family = training_family(name)
    config: Any = Annotated[family.config, Only(*family.options)] if family.options else family.config
    choice = Option(choices=trainable_families, help="The family of models; each has options of its own.")
    made = make_dataclass(
        "Arguments",
        [
            ("config", config),
            ("family", Annotated[str, choice], field(default=name)),
            ("hand_model", HandModelFile, field(default=None)),
        ],
        frozen=True,
        kw_only=True,
    )
    made.__doc__ = f"The usual options of the family {name}; all others are in ``{family.config.__name__}``."
    return made


def arguments_for(words: Sequence[str]) -> type[Any]:
    """Return the dataclass of a command line's options: that of the family that it names."""
    name = family_in_words(words)
    # An unknown one is refused by the parser, like every wrong word.
    return Arguments if name == FIRST_FAMILY or name not in trainable_families() else arguments_of(name)


def family_in_words(words: Sequence[str]) -> str:
    """Return the last value of ``--family``, or the default."""
    name = FIRST_FAMILY
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option == OPTION:
            name = value if equals else following
    return name


Arguments = arguments_of(FIRST_FAMILY)


def run(arguments: Any) -> int:
    """Train, or resume training."""
    family = training_family(arguments.family)
    print_result("checkpoint: %s", train_family(family, arguments.config, hand_model(arguments.hand_model)))
    return 0
