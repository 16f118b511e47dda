"""Convert the OpenAPI 3.1 document to 3.0.3."""

from typing import Any

from service.routers.openapi.schema_30 import schema_30

Json = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_ROOT_KEYS = ("info", "servers", "tags", "security", "externalDocs")
_UNCHANGED_COMPONENTS = ("securitySchemes", "examples", "links")


def document_30(document: Json) -> Json:
    """The document as OpenAPI 3.0.3, without webhooks and other features of 3.1."""
    info = {key: value for key, value in document["info"].items() if key != "summary"}
    return {
        "openapi": "3.0.3",
        **{key: document[key] for key in _ROOT_KEYS if key in document},
        "info": info,
        "paths": {path: _convert_path(item) for path, item in document["paths"].items()},
        "components": _convert_components(document.get("components", {})),
    }


def _convert_path(item: Json) -> Json:
    out = {key: _convert_operation(value) if key in METHODS else value for key, value in item.items()}
    if "parameters" in item:
        out["parameters"] = [_convert_parameter(part) for part in item["parameters"]]
    return out


def _convert_operation(operation: Json) -> Json:
    out = {**operation, "responses": _convert_each(operation["responses"], _convert_response)}
    if "parameters" in operation:
        out["parameters"] = [_convert_parameter(part) for part in operation["parameters"]]
    if "requestBody" in operation:
        out["requestBody"] = _convert_request_body(operation["requestBody"])
    return out


def _convert_components(components: Json) -> Json:
    convert = {
        "schemas": schema_30,
        "responses": _convert_response,
        "parameters": _convert_parameter,
        "headers": _convert_parameter,
        "requestBodies": _convert_request_body,
    }
    out = {name: _convert_each(components[name], change) for name, change in convert.items() if name in components}
    return out | {name: components[name] for name in _UNCHANGED_COMPONENTS if name in components}


def _convert_each(parts: Json, change: Any) -> Json:
    return {name: change(part) for name, part in parts.items()}


def _convert_parameter(parameter: Json) -> Json:
    """Convert a parameter or a header, which have the same structure."""
    out = dict(parameter)
    if "schema" in parameter:
        out["schema"] = schema_30(parameter["schema"])
    return out | _convert_content(parameter)


def _convert_request_body(body: Json) -> Json:
    return body | _convert_content(body)


def _convert_response(response: Json) -> Json:
    out = response | _convert_content(response)
    if "headers" in response:
        out["headers"] = _convert_each(response["headers"], _convert_parameter)
    return out


def _convert_content(holder: Json) -> Json:
    return {"content": _convert_each(holder["content"], _convert_media_type)} if "content" in holder else {}


def _convert_media_type(media: Json) -> Json:
    return media | {name: schema_30(media[name]) for name in ("schema", "x-itemSchema") if name in media}
