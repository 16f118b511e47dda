"""The native OpenAPI 3.1 document as OpenAPI 3.0.3: schemas are converted where they stand, the rest is copied."""

from typing import Any

from service.routers.openapi.schema_30 import schema_30

Json = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_ROOT = ("info", "servers", "tags", "security", "externalDocs")
_SAME = ("securitySchemes", "examples", "links")


def document_30(native: Json) -> Json:
    """What validates as OpenAPI 3.0.3; webhooks and other news of 3.1 are left out."""
    info = {key: value for key, value in native["info"].items() if key != "summary"}
    return {
        "openapi": "3.0.3",
        **{key: native[key] for key in _ROOT if key in native},
        "info": info,
        "paths": {path: _path(item) for path, item in native["paths"].items()},
        "components": _components(native.get("components", {})),
    }


def _path(item: Json) -> Json:
    out = {key: _operation(value) if key in METHODS else value for key, value in item.items()}
    if "parameters" in item:
        out["parameters"] = [_parameter(part) for part in item["parameters"]]
    return out


def _operation(operation: Json) -> Json:
    out = {**operation, "responses": _each(operation["responses"], _response)}
    if "parameters" in operation:
        out["parameters"] = [_parameter(part) for part in operation["parameters"]]
    if "requestBody" in operation:
        out["requestBody"] = _body(operation["requestBody"])
    return out


def _components(components: Json) -> Json:
    convert = {
        "schemas": schema_30,
        "responses": _response,
        "parameters": _parameter,
        "headers": _parameter,
        "requestBodies": _body,
    }
    out = {name: _each(components[name], change) for name, change in convert.items() if name in components}
    return out | {name: components[name] for name in _SAME if name in components}


def _each(parts: Json, change: Any) -> Json:
    return {name: change(part) for name, part in parts.items()}


def _parameter(parameter: Json) -> Json:
    """Also headers, which look the same."""
    out = dict(parameter)
    if "schema" in parameter:
        out["schema"] = schema_30(parameter["schema"])
    return out | _content(parameter)


def _body(body: Json) -> Json:
    return body | _content(body)


def _response(response: Json) -> Json:
    out = response | _content(response)
    if "headers" in response:
        out["headers"] = _each(response["headers"], _parameter)
    return out


def _content(holder: Json) -> Json:
    return {"content": _each(holder["content"], _media)} if "content" in holder else {}


def _media(media: Json) -> Json:
    return media | {name: schema_30(media[name]) for name in ("schema", "x-itemSchema") if name in media}
