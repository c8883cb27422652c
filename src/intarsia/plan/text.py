"""A plan as text, and back. Every complaint names the line and the nearest known name."""

import re
from collections.abc import Callable
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from ..errors import PlanError
from .actions import Action, Keep, Reuse, Run, Skip, Use
from .forecast import HOLD, Extrapolate, Fitted, Forecast
from .pattern import rows_of, sites_of
from .plan import Plan, Rule
from .table import nearest
from .units import read_units, write_units

PLAN_FORMAT = "plan/1"
SIMPLE: dict[str, Action] = {"run": Run(), "reuse": Reuse(), "skip": Skip()}


class _Loader(yaml.SafeLoader):
    """YAML without its surprises: 1:10 is text, not seventy, and dates are text."""


SURPRISES = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:timestamp")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in SURPRISES]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Weight = Annotated[float, Field(allow_inf_nan=False)]


class _Use(_Strict):
    use: str


class _Reuse(_Strict):
    carry: Literal["output", "residual"] = "output"
    order: int = Field(default=0, ge=0, le=2)
    damping: float = Field(default=1.0, ge=0, le=2, allow_inf_nan=False)
    fitted: list[Annotated[list[Weight], Field(min_length=1)]] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def no_lever_is_idle(self) -> "_Reuse":
        if "damping" in self.model_fields_set and not self.order:
            raise PydanticCustomError("idle", "'damping' needs an 'order' of 1 or 2: holding takes no step to damp")
        if self.fitted is not None and self.order:
            raise PydanticCustomError("idle", "'fitted' weights and an 'order' are two forecasts. Choose one")
        return self


class _ReuseHow(_Strict):
    reuse: _Reuse


class _Keep(_Strict):
    keep: Annotated[str, BeforeValidator(lambda units: str(units) if type(units) is int else units)]


def shape_of(do: object) -> str:
    """Which of the things that may stand behind `do` this is."""
    if not isinstance(do, dict):
        return "word"
    return next((key for key in ("reuse", "keep") if key in do), "use")


class _Rule(_Strict):
    rows: Annotated[str, BeforeValidator(lambda rows: str(rows) if type(rows) is int else rows)]
    sites: str
    do: Annotated[
        Annotated[Literal["run", "reuse", "skip"], Tag("word")]
        | Annotated[_Use, Tag("use")]
        | Annotated[_ReuseHow, Tag("reuse")]
        | Annotated[_Keep, Tag("keep")],
        Discriminator(shape_of),
    ]


class _Plan(_Strict):
    intarsia: Literal["plan/1"]
    rows: int = Field(ge=1)
    host: str | None = None
    rules: list[_Rule] = []
    made_by: dict[str, str | int | float | bool] = {}


KEYS = {
    "": list(_Plan.model_fields),
    "rules": list(_Rule.model_fields),
    "do": ["use", "reuse", "keep"],
    "reuse": list(_Reuse.model_fields),
}


def read_plan(text: str, name: str = "plan") -> Plan:
    """Read a plan from text; `name` stands in complaints where a file's name would."""
    try:
        tree = yaml.compose(text, Loader=_Loader)
        content = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        advice = " Quote text that starts with '!'." if "tag" in str(error.problem) else ""
        raise PlanError(f"{name}:{line}: not YAML: {error.problem}.{advice}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PlanError(f"{name}:1: not YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(content, dict):
        raise PlanError(f"{name}:1: a plan starts with 'intarsia: {PLAN_FORMAT}' and has 'rows' and 'rules'.")

    problems: list[tuple[int, str]] = repeated_keys(tree)
    try:
        found = _Plan.model_validate(content)
    except ValidationError as error:
        misspelt = {item["loc"][:-1] for item in error.errors() if item["type"] == "extra_forbidden"}
        for item in error.errors():
            if item["type"] == "missing" and "do" in item["loc"] and item["loc"][:-1] in misspelt:
                continue  # which of the keys it should have been, the unknown one may tell
            complaint = (line_of(tree, item["loc"]), sentence(item))
            if complaint not in problems:
                problems.append(complaint)
    problems += grammar_problems(tree, content)
    if problems:
        raise PlanError([f"{name}:{line}: {problem}" for line, problem in sorted(problems)])

    rules = tuple(Rule(rule.rows, rule.sites, action_of(rule.do)) for rule in found.rules)
    return Plan(found.rows, rules, found.host, found.made_by)


def repeated_keys(node: yaml.Node | None) -> list[tuple[int, str]]:
    """Keys that stand twice in one place: YAML would keep the last of them without a word."""
    problems = []
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                problems.append((key.start_mark.line + 1, f"{key.value!r} stands here for the second time."))
            seen.add(key.value)
            problems += repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            problems += repeated_keys(item)
    return problems


def action_of(do: str | _Use | _ReuseHow | _Keep) -> Action:
    """The action that a rule's `do` stands for."""
    if isinstance(do, str):
        return SIMPLE[do]
    if isinstance(do, _Use):
        return Use(do.use)
    if isinstance(do, _Keep):
        return Keep(read_units(do.keep))
    how = do.reuse
    forecast: Forecast = HOLD
    if how.fitted is not None:
        forecast = Fitted(tuple(tuple(weights) for weights in how.fitted))
    elif how.order:
        forecast = Extrapolate(how.order, how.damping)
    return Reuse(how.carry, forecast)


def written(action: Action) -> str | dict[str, object]:
    """What stands behind `do` for an action; `action_of` undoes it."""
    match action:
        case Use(name):
            return {"use": name}
        case Keep(units):
            return {"keep": write_units(units)}
        case Reuse(carry, forecast) if action != Reuse():
            how: dict[str, object] = {} if carry == "output" else {"carry": carry}
            match forecast:
                case Fitted(by_distance):
                    how["fitted"] = [list(weights) for weights in by_distance]
                case Extrapolate(order, damping):
                    how |= {"order": order} | ({} if damping == 1 else {"damping": damping})
            return {"reuse": how}
    return next(word for word, simple in SIMPLE.items() if simple == action)


def grammar_problems(tree: yaml.Node | None, content: dict) -> list[tuple[int, str]]:
    """What is wrong inside the patterns of rules that are otherwise well formed."""
    problems = []
    rows, rules = content.get("rows"), content.get("rules")
    for number, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        checks: dict[str, Callable[[object], object]] = {
            "rows": lambda text: isinstance(rows, int) and rows > 0 and rows_of(str(text), rows),
            "sites": lambda text: isinstance(text, str) and sites_of(text, []),
            "do": lambda do: isinstance(do, dict) and "keep" in do and read_units(str(do["keep"])),
        }
        for key, check in checks.items():
            try:
                if key in rule:
                    check(rule[key])
            except PlanError as error:
                line = line_of(tree, ("rules", number, key))
                problems += [(line, problem) for problem in error.problems]
    return problems


def line_of(tree: yaml.Node | None, where: tuple[int | str, ...]) -> int:
    """The line of a place in the file, or of the nearest thing around it."""
    node, line = tree, 1
    for step in where:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == step:
                    node, line = value, key.start_mark.line + 1
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def sentence(item: ErrorDetails) -> str:
    """One of pydantic's findings, as a person would say it."""
    where, key = item["loc"], str(item["loc"][-1])
    if item["type"] == "extra_forbidden":
        known = KEYS[next((part for part in ("reuse", "do", "rules") if part in where[:-1]), "")]
        return f"unknown key {key!r}.{nearest(key, known) or ' Known: ' + ', '.join(known) + '.'}"
    if item["type"] == "idle":
        return f"{item['msg']}."
    if item["type"] == "missing":
        return f"{key!r} is missing."
    if "do" in where and "reuse" not in where[:-1]:
        wrong = item["input"]
        close = nearest(wrong, [*SIMPLE, "use"]) if isinstance(wrong, str) else ""
        return f"'do' is run, reuse, skip, {{use: NAME}}, {{reuse: HOW}} or {{keep: UNITS}}, not {wrong!r}.{close}"
    if key == "intarsia":
        return f"this is not a plan of a known version: 'intarsia' is {item['input']!r}, not {PLAN_FORMAT!r}."
    return f"{key!r}: {item['msg'][0].lower()}{item['msg'][1:]}, not {item['input']!r}."


def write_plan(plan: Plan) -> str:
    """A plan as the text of its file; `read_plan` undoes it."""
    content: dict = {"intarsia": PLAN_FORMAT, "rows": plan.rows}
    if plan.host:
        content["host"] = plan.host
    content["rules"] = [{"rows": rule.rows, "sites": rule.sites, "do": written(rule.do)} for rule in plan.rules]
    if plan.made_by:
        content["made_by"] = dict(plan.made_by)
    return yaml.safe_dump(content, sort_keys=False, width=100)
