"""talosconfig files: properties of reading, writing and merging."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos.talosconfig import Context, TalosConfig, TalosConfigError

NAMES = st.text(min_size=1, max_size=6)
TEXTS = st.text(alphabet="ab1.:-", max_size=6)
CONTEXTS = st.builds(
    Context,
    endpoints=st.lists(TEXTS, max_size=2),
    nodes=st.lists(TEXTS, max_size=2),
    ca=TEXTS,
    crt=TEXTS,
    key=TEXTS,
    basic=st.none() | st.tuples(TEXTS, TEXTS),
    identity=st.none() | TEXTS,
    cluster=TEXTS,
    proxy_url=TEXTS,
)
CONFIGS = st.builds(TalosConfig, context=TEXTS, contexts=st.dictionaries(NAMES, CONTEXTS, max_size=4))


@given(CONFIGS)
def test_a_talosconfig_is_read_as_it_was_written(config):
    assert TalosConfig.from_yaml(config.to_yaml()) == config


@given(CONFIGS, CONFIGS)
def test_a_merge_loses_no_context(config, other):
    merged = deepcopy(config)
    renames = dict(merged.merge(other))
    assert merged.contexts == config.contexts | {renames.get(n, n): context for n, context in other.contexts.items()}
    assert len(merged.contexts) == len(config.contexts) + len(other.contexts)


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "contexts: []", "contexts: {a: 1}", "contexts: {a: {endpoints: x}}", "contexts: {a: {ca: []}}"],
)
def test_a_file_that_is_no_talosconfig_is_refused(text):
    with pytest.raises(TalosConfigError):
        TalosConfig.from_yaml(text)


def test_a_number_is_text_and_a_date_is_not():
    config = TalosConfig.from_yaml("context: 1.50\ncontexts: {1.50: {cluster: true}}\nextra: 2020-01-01")
    assert config == TalosConfig("1.50", {"1.50": Context(cluster="true")})
    with pytest.raises(TalosConfigError, match="context has to be a text"):
        TalosConfig.from_yaml("context: 2020-01-01")
