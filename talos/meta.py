"""META: the small key and value partition of a Talos machine that survives changes of its configuration."""

from collections.abc import Mapping
from enum import IntEnum

from talos import yaml12
from talos.yaml12 import scalars
from talos.yamlwords import double_quoted


class Key(IntEnum):
    """Keys of META that concern the control plane; each is one byte."""

    UPGRADE_FALLBACK = 0x06
    """Boot entry to fall back to while an upgrade is not confirmed."""
    PLATFORM_NETWORK = 0x0A
    IMAGE_LABELS = 0x0C
    """First labels of the machine, put there by the maker of its boot image."""
    UUID_OVERRIDE = 0x0F
    UNIQUE_TOKEN = 0x10


_LABELS = "machineLabels"
_LABELS_BEFORE = "machineInitialLabels"


def encode_image_labels(labels: Mapping[str, str]) -> str:
    """The value of ``Key.IMAGE_LABELS``: YAML."""
    return yaml12.dump(double_quoted({_LABELS: yaml12.sort_keys(dict(labels))}))


def parse_image_labels(text: str) -> dict[str, str] | None:
    """Labels out of META, with blanks around names and values removed; None if the value holds none.

    Values that are no strings count as the text they were written with. Raises ValueError (YAMLError) for text that
    is not YAML or whose labels are not a map of single values.
    """
    documents = list(yaml12.compose(text))
    root = documents[0] if documents else None
    if root is None or root.is_null:
        return None
    if root.kind != "mapping":
        raise yaml12.YAMLError("image labels have to be a map", root.line)
    yaml12.construct(root)
    for name in (_LABELS, _LABELS_BEFORE):
        labels = root.get(name)
        if labels is None or labels.is_null:
            continue
        if labels.kind != "mapping":
            raise yaml12.YAMLError(f"{name} has to be a map of labels", labels.line)
        return {_text(key).strip(): _text(value).strip() for key, value in labels.pairs}
    return None


def _text(node: yaml12.Node) -> str:
    if node.kind != "scalar" or node.tag == scalars.TIMESTAMP:
        raise yaml12.YAMLError(f"a label has a single value, and dates need quotes (line {node.line})", node.line)
    return "" if node.is_null else node.value
