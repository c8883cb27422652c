"""What several verbs read in the same way: plans by name, outlines by name."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path

from ..errors import FitError, PlanError
from ..plan import Outline, Plan, Table, load_outline, load_plan, resolve
from ..plan.files import relate
from ..shipped import model_folder, model_names, outline_file, plan_file


def read_plans(names: list[str]) -> Plan:
    """The plans of these names or files, joined from left to right."""
    return reduce(or_, [load_plan(plan_file(name)) for name in names])


def read_outline(name: str) -> Outline:
    """The outline of this model, by its short name, its folder or an outline file."""
    if Path(name).is_dir() and name not in model_names():
        from .. import hosts
        from ..hosts.pipelines import load_pipeline

        pipe = load_pipeline(model_folder(name), device="cpu")
        return hosts.of(pipe.unet, tokens=pipe.tokenizer.model_max_length).outline
    return load_outline(outline_file(name))


def parts_known(names: Sequence[str], words: Mapping[str, Sequence[str]]) -> str:
    """What tasks of a kit can be made of: names, and words that stand for several of them."""
    several = [f"{word}: {' or '.join(few)}" for word, few in words.items() if few]
    return "; ".join([", ".join(names), *several])


def read_sources(named: list[str]) -> dict[str, Path]:
    """Models by the names that plans call them by, from 'NAME=MODEL' each.

    Raises:
        PlanError: one is not of that form, or a name is given twice.
    """
    return {name: model_folder(model) for name, model in read_pairs(named, "MODEL", "small=out/student").items()}


def read_pairs(texts: list[str], what: str, example: str) -> dict[str, str]:
    """What is said as NAME=VALUE, by name.

    Args:
        what: What a value is called on the command line, such as 'MODEL'.

    Raises:
        PlanError: a text is not of that form, or a name is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise PlanError(f"{text!r}: write NAME={what}, such as {example!r}.")
        if name in found:
            raise PlanError(f"the name {name!r} is given to two {what.lower()}s: {found[name]} and {value}.")
        found[name] = value
    return found


def read_outlines(named: list[str]) -> dict[str, Outline]:
    """Outlines of other models by the names that plans call them by, from 'NAME=MODEL' each."""
    return {name: read_outline(str(path)) for name, path in read_sources(named).items()}


def resolve_named(plan: Plan, outline: Outline, names: list[str], others: Iterable[str] = ()) -> Table:
    """Resolve a plan; complaints say which file they are about."""
    try:
        return resolve(plan, outline, others)
    except (FitError, PlanError) as error:
        if len(names) > 1:
            raise
        raise relate(error, plan_file(names[0])) from None
