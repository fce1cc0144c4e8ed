"""RFC 6902 operations on plain values, with the leniency and the error texts of the library Talos uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from talos.config.document import ConfigError
from talos.config.schema.types import copy

_MISSING = "missing value"


class OperationError(ConfigError):
    """An operation that cannot be applied."""


def apply(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """A copy of `document` with the operations applied in order. Raises OperationError."""
    box = [copy(document)]
    for operation in operations:
        kind = operation.get("op")
        kind = kind if isinstance(kind, str) else "unknown"
        if kind not in _OPERATIONS:
            raise OperationError(f"Unexpected kind: {kind}")
        _OPERATIONS[kind](box, operation)
    return box[0]


def _pointer(operation: Mapping[str, Any], key: str) -> str:
    pointer = operation.get(key)
    if not isinstance(pointer, str):
        what = "operation missing path field" if key == "path" else "operation, missing from field"
        raise OperationError(f"{operation['op']} operation failed to decode {key}: {what}: {_MISSING}")
    return pointer


def _find(document: Any, pointer: str) -> tuple[Any, str] | None:
    """The container a pointer's last part belongs to, and that part."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]
    if len(parts) < 2:
        return None
    for part in parts[1:-1]:
        try:
            document = _get(document, part)
        except OperationError:
            return None
        if not isinstance(document, dict | list):
            return None
    return document, parts[-1]


def _index(key: str, size: int) -> int:
    try:
        index = int(key)
    except ValueError:
        raise OperationError(f'strconv.Atoi: parsing "{key}": invalid syntax') from None
    if not -size <= index < size:
        raise OperationError(f"Unable to access invalid index: {index}: invalid index referenced")
    return index % size


def _get(container: Any, key: str) -> Any:
    return container.get(key) if isinstance(container, dict) else container[_index(key, len(container))]


def _put(container: Any, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
    elif key == "-":
        container.append(value)
    else:
        try:
            int(key)
        except ValueError:
            raise OperationError(
                f"value was not a proper array index: '{key}': strconv.Atoi: parsing \"{key}\": invalid syntax"
            ) from None
        container.insert(_index(key, len(container) + 1), value)


def _drop(container: Any, key: str) -> None:
    if isinstance(container, list):
        del container[_index(key, len(container))]
    elif key in container:
        del container[key]
    else:
        raise OperationError(f"Unable to remove nonexistent key: {key}: {_MISSING}")


def _add(box: list[Any], operation: Mapping[str, Any]) -> None:
    path = _pointer(operation, "path")
    target = _find(box[0], path)
    if target is None:
        raise OperationError(f'add operation does not apply: doc is missing path: "{path}": {_MISSING}')
    _checked(f"error in add for path: '{path}'", _put, *target, copy(operation.get("value")))


def _remove(box: list[Any], operation: Mapping[str, Any]) -> None:
    path = _pointer(operation, "path")
    target = _find(box[0], path)
    if target is None:
        raise OperationError(f'remove operation does not apply: doc is missing path: "{path}": {_MISSING}')
    _checked(f"error in remove for path: '{path}'", _drop, *target)


def _replace(box: list[Any], operation: Mapping[str, Any]) -> None:
    path, value = _pointer(operation, "path"), copy(operation.get("value"))
    if path == "":
        if not isinstance(value, dict | list):
            raise OperationError("replace operation value must be object or array")
        box[0] = value
        return
    target = _find(box[0], path)
    if target is None:
        raise OperationError(f"replace operation does not apply: doc is missing path: {path}: {_MISSING}")
    container, key = target
    if isinstance(container, dict):
        container[key] = value
        return
    try:
        container[_index(key, len(container))] = value
    except OperationError:
        raise OperationError(f"replace operation does not apply: doc is missing key: {path}: {_MISSING}") from None


def _move(box: list[Any], operation: Mapping[str, Any]) -> None:
    source = _pointer(operation, "from")
    found = _find(box[0], source)
    if found is None:
        raise OperationError(f"move operation does not apply: doc is missing from path: {source}: {_MISSING}")
    container, key = found
    failure = f"error in move for path: '{key}'"
    value = _checked(failure, _get, container, key)
    _checked(failure, _drop, container, key)
    path = _pointer(operation, "path")
    target = _find(box[0], path)
    if target is None:
        raise OperationError(f"move operation does not apply: doc is missing destination path: {path}: {_MISSING}")
    _checked(f"error in move for path: '{path}'", _put, *target, value)


def _copy(box: list[Any], operation: Mapping[str, Any]) -> None:
    source = _pointer(operation, "from")
    found = _find(box[0], source)
    if found is None:
        raise OperationError(f"copy operation does not apply: doc is missing from path: {source}: {_MISSING}")
    value = copy(_checked(f"error in copy for from: '{source}'", _get, *found))
    path = _pointer(operation, "path")
    target = _find(box[0], path)
    if target is None:
        raise OperationError(f"copy operation does not apply: doc is missing destination path: {path}: {_MISSING}")
    _checked("error while adding value during copy", _put, *target, value)


def _test(box: list[Any], operation: Mapping[str, Any]) -> None:
    path, wanted = _pointer(operation, "path"), operation.get("value")
    if path == "":
        value = box[0]
    else:
        target = _find(box[0], path)
        if target is None:
            raise OperationError(f"test operation does not apply: is missing path: {path}: {_MISSING}")
        value = _checked(f"error in test for path: '{path}'", _get, *target)
    if value != wanted or type(value) is not type(wanted):
        raise OperationError(f"testing value {path} failed: test failed")


def _checked(failure: str, action: Any, *arguments: Any) -> Any:
    try:
        return action(*arguments)
    except OperationError as error:
        raise OperationError(f"{failure}: {error}") from None


_OPERATIONS = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
