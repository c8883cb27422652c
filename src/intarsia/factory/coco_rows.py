"""The rows of COCO's format, one by one: what is well formed, and what an annotation calls its thing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError


class _Picture(BaseModel):
    model_config = ConfigDict(strict=True)
    id: int
    file_name: str = Field(min_length=1)
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class _Category(BaseModel):
    model_config = ConfigDict(strict=True)
    id: int
    name: str = Field(min_length=1)


class _Annotation(BaseModel):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    iscrowd: int = Field(0, ge=0, le=1)
    attributes: list[str] | dict[str, str | bool | float | None] | None = None


KINDS: Mapping[str, type[BaseModel]] = {"images": _Picture, "categories": _Category, "annotations": _Annotation}
# Said of fields that may be of several types, of which pydantic would tell as many faults.
WANTED = {"attributes": 'give a list of words, or one word for each kind, such as {"colour": "red"}'}


def parsed(rows: Sequence[Any], kind: str, faults: list[str]) -> Iterator[BaseModel]:
    """The rows of a list that are well formed; what is wrong with the others goes to `faults`."""
    for place, row in enumerate(rows):
        try:
            yield KINDS[kind].model_validate(row)
        except ValidationError as error:
            named = row.get("id", f"number {place}") if isinstance(row, dict) else f"number {place}"
            item = error.errors()[0]
            at = [str(part) for part in item["loc"]] or ["it"]
            said = f"{'.'.join(at)}: {item['msg'][0].lower()}{item['msg'][1:]}"
            faults.append(f"{kind} {named}: {f'{at[0]}: {WANTED[at[0]]}' if at[0] in WANTED else said}")


def attributes_of(annotation: Any) -> list[tuple[str, str]]:
    """The attributes of an annotation, each after its kind, which is '' for those that are listed."""
    said = annotation.attributes or ()
    pairs = said.items() if isinstance(said, dict) else (("", word) for word in said)
    return [(kind.casefold(), word) for kind, word in pairs if isinstance(word, str)]


def groups_of(categories: Iterable[Any], annotations: Iterable[Any]) -> tuple[tuple[str, ...], ...]:
    """Names that are alternatives: those of categories, then attributes, kind by kind.

    An attribute that is listed here and of a kind there is of that kind, and one that is called as a category is the
    category.
    """
    classes = tuple(dict.fromkeys(category.name for category in categories))
    said = [pair for one in annotations for pair in attributes_of(one) if pair[1] not in classes]
    of = {word: "" for _, word in said} | {word: kind for kind, word in said if kind}
    kinds = (tuple(sorted(word for word in of if of[word] == kind)) for kind in sorted(set(of.values())))
    return (classes, *kinds)
