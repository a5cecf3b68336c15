"""Rules by which ``tyro`` reads dataclasses annotated as in ``core/arguments.py``; nothing else knows the parser."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args

import tyro
from tyro import MISSING_NONPROP, conf
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from handviz.core.arguments import Only, Option, number, some_words, whole_number

T = TypeVar("T")
CONFIG = (
    conf.FlagCreatePairsOff,
    conf.DisallowNone,
    conf.OmitArgPrefixes,
    conf.OmitSubcommandPrefixes,
    conf.PositionalMetavarFromFieldName,
)


def read(kind: Callable[..., T], program: str, description: str, words: Sequence[str]) -> T:
    """Return the dataclass that the words describe; SystemExit after a help or an error, which are printed."""
    rules, registry = _Rules(), ConstructorRegistry()
    registry.primitive_rule(rules.optional)
    registry.primitive_rule(rules.numbers)
    registry.struct_rule(rules.fields)
    return tyro.cli(kind, prog=program, description=description, args=words, config=CONFIG, registry=registry)


def completion(commands: Mapping[str, Any], program: str, shell: str) -> NoReturn:
    """Print the script by which a shell completes the options of a program's commands; SystemExit after it."""
    members: list[Any] = []
    for name, kind in commands.items():
        # A command with actions is a dataclass that has one of them.
        one = kind if isinstance(kind, type) else dataclasses.make_dataclass(name, [("action", kind)])
        members.append(Annotated[one, conf.subcommand(name, prefix_name=False)])
    union: Any = Union[tuple(members)]  # noqa: UP007
    read(union, program, "", ("--tyro-print-completion", shell))
    raise AssertionError("the parser exits after it has printed a completion script")


class _Rules:
    """Rules for one command line."""

    def __init__(self) -> None:
        self._shown: dict[object, tuple[str, ...]] = {}
        """Of nested dataclasses marked by ``Only``, the fields that are options."""
        self._groups: dict[str, object] = {}
        self._asks_default = False

    def numbers(self, info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        """Read finite numbers, with a message in plain words."""
        if info.type is int:
            return _spec(Option(read=lambda words: whole_number(words[0])), "INT")
        return _spec(Option(read=lambda words: number(words[0])), "FLOAT") if info.type is float else None

    def optional(self, info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        """Read ``X | None`` as X: None is for options that are not given."""
        inner = [kind for kind in get_args(info.type) if kind is not NoneType]
        if info.type_origin not in (Union, UnionType) or len(inner) != 1:
            return None
        spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(inner[0], info.markers))
        if not isinstance(spec, PrimitiveConstructorSpec):
            return None
        write = spec.str_from_instance
        return dataclasses.replace(
            spec,
            is_instance=lambda value: value is None or spec.is_instance(value),
            str_from_instance=lambda value: ["None"] if value is None else write(value),
        )

    def fields(self, info: StructTypeInfo) -> StructConstructorSpec | None:
        """Read a dataclass as ``tyro`` does, and each field as its annotation says."""
        if self._asks_default or not dataclasses.is_dataclass(info.type):
            return None
        self._asks_default = True
        try:
            spec = ConstructorRegistry.get_struct_spec(info)
        finally:
            self._asks_default = False
        assert isinstance(spec, StructConstructorSpec)
        make, shown = getattr(info.type, "from_options", spec.instantiate), self._shown.get(info.type)
        if shown is None:
            return StructConstructorSpec(make, tuple(map(self._field, spec.fields)))
        hidden = [item for item in spec.fields if item.name not in shown]
        fixed = {item.name: item.default for item in hidden if not isinstance(item.default, type(MISSING_NONPROP))}
        fields = tuple(self._field(item) for item in spec.fields if item.name in shown)
        return StructConstructorSpec(partial(make, **fixed), fields)

    def _field(self, item: StructFieldSpec) -> StructFieldSpec:
        kind, notes = _unwrapped(item.type)
        extras: list[object] = []
        for note in notes:
            if isinstance(note, Only):
                self._shown[kind] = note.names
                extras.append(conf.arg(name=""))  # no heading of its own
            elif isinstance(note, Option):
                extras += self._marks(note)
        if not any(isinstance(note, Option) and note.read for note in notes):
            extras += _at_least_one(kind, item.default)
        annotated: Any = Annotated[(kind, *extras)] if extras else kind
        return dataclasses.replace(item, type=annotated, helptext=lambda: _one_paragraph(item.helptext))

    def _marks(self, option: Option) -> list[object]:
        choices = option.allowed()
        metavar = option.metavar or (f"{{{','.join(choices)}}}" if choices else None)
        hint = "" if option.read is not None and option.words == "*" else None
        marks: list[object] = [conf.arg(name=option.name, help=option.help, metavar=metavar, help_behavior_hint=hint)]
        if option.is_positional:
            marks.append(conf.Positional)
        if option.group is not None:
            title = option.group
            marks.append(self._groups.setdefault(title, conf.create_mutex_group(required=False, title=title)))
        return [*marks, *([_spec(option)] if option.read or option.choices else [])]


def _one_paragraph(text: str | Callable[[], str | None] | None) -> str | None:
    text = text() if callable(text) else text
    return None if text is None else " ".join(text.replace("``", "").split())


def _unwrapped(kind: Any) -> tuple[Any, tuple[object, ...]]:
    """Return a type and its annotations, also those inside ``X | None``."""
    notes = getattr(kind, "__metadata__", ())
    bare = kind.__origin__ if notes else kind
    if isinstance(bare, UnionType) or getattr(bare, "__origin__", None) is Union:
        inner = [one for one in get_args(bare) if one is not NoneType]
        if len(inner) == 1 and hasattr(inner[0], "__metadata__"):
            return inner[0].__origin__ | None, (*inner[0].__metadata__, *notes)
    return bare, notes


def _spec(option: Option, metavar: str = "VALUE") -> PrimitiveConstructorSpec[Any]:
    is_list = option.words == "*"
    return PrimitiveConstructorSpec(
        nargs=option.words,
        metavar=metavar,
        instance_from_str=option.read or (some_words if is_list else lambda words: words[0]),
        is_instance=lambda _: True,
        str_from_instance=lambda value: list(map(str, value)) if is_list and isinstance(value, tuple) else [str(value)],
        choices=option.allowed() or None,
    )


def _at_least_one(kind: Any, default: object) -> list[object]:
    """Return the specification of a required list, which must not be empty."""
    if default is not MISSING_NONPROP or get_args(kind)[1:] != (...,):
        return []
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, set()))
    assert isinstance(spec, PrimitiveConstructorSpec)
    read = spec.instance_from_str

    def read_some(words: list[str]) -> Any:
        return read(list(some_words(words)))

    metavar = f"{spec.metavar.partition(' ')[0].lstrip('[')} ..."
    return [dataclasses.replace(spec, instance_from_str=read_some, metavar=metavar)]
