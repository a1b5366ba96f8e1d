"""The page /docs: the API's description as plain HTML. FastAPI's own page would load its code from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding-top: .5rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
"""


def api_page(schema: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI description."""
    title = f"{schema['info']['title']} {schema['info']['version']}: API"
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>',
        f"<h1>{escape(title)}</h1><p>For programs: <a href='/openapi.json'>openapi.json</a>. Errors are ",
        '<code>{"error": {"message", "type", "param", "code"}}</code>.</p>',
    ]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parts += _operation(schema, path, method, operation)
    return "".join([*parts, "</main></body></html>"])


def _operation(schema: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is not None:
        yield '<div class="scroll"><table><tr><th>field</th><th>type</th><th>default</th><th>meaning</th></tr>'
        body = _resolved(schema, content["schema"])
        for name, field in body.get("properties", {}).items():
            meaning = escape(field.get("description", "") or _inner(schema, field).get("description", ""))
            default = escape(str(field["default"])) if field.get("default") not in (None, "") else ""
            kind = escape(_kind(schema, field))
            yield f"<tr><td><code>{escape(name)}</code></td><td>{kind}</td><td>{default}</td><td>{meaning}</td></tr>"
        yield "</table></div>"
    yield "</section>"


def _kind(schema: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    """Return a field's type with its limits, for people."""
    field = _inner(schema, field)
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    kind = str(field.get("type", "any"))
    if kind == "array":
        kind = f"list of {_kind(schema, field['items'])}"
    elif kind == "object" and "properties" in field:
        kind = f"{{{', '.join(field['properties'])}}}"
    limits = [f"{word} {field[key]:.12g}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in field]
    return " ".join([kind, *limits])


def _inner(schema: Mapping[str, Any], field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a field's own type: without null, behind its reference."""
    for choice in field.get("anyOf", []):
        if choice.get("type") != "null":
            return _resolved(schema, choice)
    return _resolved(schema, field)


def _resolved(schema: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    name = value.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = schema["components"]["schemas"][name] if name else value
    return found
