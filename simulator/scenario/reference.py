"""Every key that a scenario may have, as Markdown, read off the model itself: it cannot say anything else.

A table for each kind of table, in the order in which a file is written. This module must not know any key.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from simulator.scenario.model import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["reference"]

_HEADINGS = "| key | value | default | meaning |\n| --- | --- | --- | --- |"
_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a table",
}

Schema = dict[str, Any]


def reference() -> str:
    """Return the reference: a heading and a table for each table of a scenario."""
    document = Scenario.model_json_schema(mode="serialization")
    return "\n".join(_sections("", document, document["$defs"])).rstrip() + "\n"


def _sections(path: str, table: Schema, definitions: Mapping[str, Schema]) -> Iterator[str]:
    """Yield the section of the table at ``path``, then those of the tables in it."""
    yield f"### {path or 'The file itself'}\n"
    yield f"{_prose(table['description'])}\n"
    yield _HEADINGS
    required = table.get("required", ())
    for key, field in table["properties"].items():
        default = "*needed*" if key in required else _default(field)
        meaning = _prose(field["description"]).replace("|", "\\|")
        yield f"| `{key}` | {_value(_below(path, key), field, definitions)} | {default} | {meaning} |"
    yield ""
    for key, field in table["properties"].items():
        yield from _tables_below(_below(path, key), field, definitions)


def _tables_below(path: str, field: Schema, definitions: Mapping[str, Schema]) -> Iterator[str]:
    for where, name in _links(path, field):
        if "properties" in definitions[name]:
            yield from _sections(where, definitions[name], definitions)


def _links(path: str, field: Schema) -> Iterator[tuple[str, str]]:
    """Yield each definition that a field refers to, and the path that its table stands at."""
    if "$ref" in field:
        yield path, field["$ref"].rpartition("/")[2]
    for each in field.get("anyOf", ()):
        yield from _links(path, each)
    if isinstance(field.get("items"), dict):
        yield from _links(f"{path}[]", field["items"])
    if isinstance(field.get("additionalProperties"), dict):
        yield from _links(f"{path}.NAME", field["additionalProperties"])


def _value(path: str, field: Schema, definitions: Mapping[str, Schema]) -> str:
    """Return what may stand at ``path``: the words to choose from, the kind, the bounds, and an example."""
    if "anyOf" in field:
        outer = {"examples": field["examples"]} if "examples" in field else {}
        kinds = [each | outer for each in field["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(_value(path, each, definitions) for each in kinds))
    for where, name in _links(path, field):
        words = definitions[name].get("enum")
        return _alternatives(words) if words else _link(where)
    if "enum" in field or "const" in field:
        return _alternatives(field.get("enum", [field.get("const")]))
    if "format" in field:
        kind = f"{'an' if field['format'][0] in 'aeiou' else 'a'} {field['format']}"
    elif "items" in field:
        kind = f"a list of {field['items'].get('format', 'text')}s".replace("texts", "text")
    else:
        kind = _KINDS[field["type"]]
    return kind + _bounds(field) + _example(field)


def _alternatives(words: list[object]) -> str:
    return ", ".join(_code(word) for word in words)


def _link(path: str) -> str:
    kind = "tables" if path.endswith(("[]", ".NAME")) else "a table"
    anchor = "".join(letter for letter in path.lower() if letter.isalnum() or letter == "_")
    return f"{kind}, [{path}](#{anchor})"


def _bounds(field: Schema) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    if least is not None and most is not None:
        return f", {least} to {most:,}"
    return "" if least is None else f", {least} or more"


def _example(field: Schema) -> str:
    return f", such as {_code(field['examples'][0])}" if "examples" in field else ""


def _default(field: Schema) -> str:
    default = field.get("default")
    if default is None or isinstance(default, dict):
        return ""
    return _code(int(default) if isinstance(default, float) and default.is_integer() else default)


def _code(value: object) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {json.dumps(each)}" for key, each in value.items())
        return f"`{{ {inside} }}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _prose(docstring: str) -> str:
    """Return a docstring as one paragraph of Markdown."""
    return " ".join(docstring.replace("``", "`").split())
