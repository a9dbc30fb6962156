"""The page at `/docs`: the OpenAPI document as readable HTML, made here, with no script in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from worker.model import JsonObject

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2.5rem; }
h3 b { display: inline-block; min-width: 4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; }
tr { border-bottom: 1px solid var(--line); }
code, pre, h3 { font-family: ui-monospace, monospace; font-size: .9rem; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; }
nav li { font-family: ui-monospace, monospace; font-size: .9rem; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
"""To be sent with the page: nothing may load or run, but this one style."""


def page(spec: JsonObject) -> str:
    """Write the page.

    Args:
        spec: an OpenAPI 3.1 document, as `worker.api.openapi.document` makes it.
    """
    routes = list(_operations(spec["paths"]))
    events = list(_operations(spec["webhooks"]))
    info = spec["info"]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
            f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
            *map(_paragraph, info["description"].split("\n\n")),
            '<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>',
            _contents([*routes, *events]),
            "<h2>Routes</h2>",
            *(_operation(*each) for each in routes),
            "<h2>Webhooks</h2>",
            *(_operation(*each) for each in events),
            "<h2>Types</h2>",
            *(_definition(*each) for each in spec["components"]["schemas"].items()),
            "</html>",
        ]
    )


def _operations(paths: Mapping[str, JsonObject]) -> Iterable[tuple[str, str, JsonObject]]:
    for path, verbs in paths.items():
        for verb, operation in verbs.items():
            yield verb.upper(), path, operation


# --- operations ---------------------------------------------------------------------------------


def _contents(operations: Iterable[tuple[str, str, JsonObject]]) -> str:
    items = (
        f'<li><a href="#{escape(each["operationId"])}">{verb} {escape(path)}</a> '
        f"{_text(each['summary'])}</li>"
        for verb, path, each in operations
    )
    return f"<nav><ul>{''.join(items)}</ul></nav>"


def _operation(verb: str, path: str, operation: JsonObject) -> str:
    parts = [
        f'<h3 id="{escape(operation["operationId"])}"><b>{verb}</b> {escape(path)}</h3>',
        *map(_paragraph, operation["description"].split("\n\n")),
    ]
    if "parameters" in operation:
        rows = map(_parameter, operation["parameters"])
        parts.append(_table(("parameter", "in", "type", "meaning"), rows))
    if "requestBody" in operation:
        [content] = operation["requestBody"]["content"].values()
        kind = _type(content["schema"])
        optional = "" if operation["requestBody"]["required"] else ", may be left out"
        parts.append(f"<p>Body: {kind}{optional}</p>{_example(content['example'])}")
    answers = ((status, *_answer(each)) for status, each in operation["responses"].items())
    parts.append(_table(("answer", "type", "meaning"), answers))
    return "\n".join(parts)


def _parameter(parameter: JsonObject) -> tuple[str, ...]:
    name = f"<code>{escape(parameter['name'])}</code>{_star(required=parameter['required'])}"
    about = _text(parameter.get("description", ""))
    return name, parameter["in"], _type(parameter["schema"]), about


def _answer(answer: JsonObject) -> tuple[str, str]:
    kinds = (_type(content["schema"]) for content in answer.get("content", {}).values())
    return ", ".join(kinds), _text(answer["description"])


# --- types --------------------------------------------------------------------------------------


def _definition(name: str, schema: JsonObject) -> str:
    parts = [f'<h3 id="type-{escape(name)}">{escape(name)}</h3>']
    parts += map(_paragraph, schema.get("description", "").split("\n\n"))
    if "properties" in schema:
        required = schema.get("required", [])
        rows = (
            (
                f"<code>{escape(each)}</code>{_star(required=each in required)}",
                _type(property_),
                _text(property_.get("description", "")),
            )
            for each, property_ in schema["properties"].items()
        )
        parts.append(_table(("field", "type", "meaning"), rows))
    else:
        parts.append(f"<p>{_type(schema)}</p>")
    parts += map(_example, schema.get("examples", []))
    return "\n".join(parts)


def _type(schema: JsonObject) -> str:
    """Say in words what a schema takes."""
    match schema:
        case {"$ref": str(ref)}:
            name = escape(ref.rpartition("/")[2])
            return f'<a href="#type-{name}">{name}</a>'
        case {"anyOf": list(choices)}:
            return " or ".join(map(_type, choices))
        case {"enum": _} | {"const": _}:
            values = schema.get("enum") or [schema["const"]]
            return ", ".join(f"<code>{escape(str(value))}</code>" for value in values)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {_type(values)}"
        case _:
            return _plain(schema)


def _plain(schema: JsonObject) -> str:
    limits = {"minimum": "from", "maximum": "to", "maxLength": "up to", "default": "default"}
    words = [schema.get("format") or schema.get("type", "anything")]
    words += [f"{word} {schema[key]}" for key, word in limits.items() if _is_said(schema.get(key))]
    return escape(" ".join(words))


def _is_said(limit: object) -> bool:
    return limit is not None and limit not in ({}, [])


# --- pieces -------------------------------------------------------------------------------------


def _table(heads: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> str:
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _example(example: object) -> str:
    return f"<pre>{escape(json.dumps(example, indent=2))}</pre>"


def _paragraph(text: str) -> str:
    return f"<p>{_text(text)}</p>" if text.strip() else ""


def _text(text: str) -> str:
    """Escape a text; what stands in backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _star(*, required: bool) -> str:
    return " *" if required else ""
