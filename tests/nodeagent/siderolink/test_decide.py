"""The decision of a Provision call: a table of what happens, and what never does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.siderolink.decide import Act, Facts, KnownLink, Refusal, decide, valid_uuid
from talos.jointoken import NodeUniqueToken

UUID, OTHER_UUID = "8a4f3e34-58a6-4a1a-9bb0-44b2b3a3b8a1", "11111111-2222-4333-8444-555555555555"
TOKEN = NodeUniqueToken("hardware", "random")
REPLACED = NodeUniqueToken("hardware", "another")  # the same hardware, after its META was lost
FOREIGN = NodeUniqueToken("other hardware", "foreign")

NEWCOMER = Facts(
    node_uuid=UUID,
    public_key="key",
    unique_token=None,
    talos_version="v1.13.8",
    token_valid=True,
    by_unique_token=None,
    by_uuid=None,
    key_elsewhere=False,
)
MACHINE = KnownLink(node_uuid=UUID, public_key="key", unique_token=TOKEN, installed=False)
REBOOTED = replace(MACHINE, public_key="key of the boot before")
INSTALLED = replace(REBOOTED, installed=True)
BEHIND = KnownLink(node_uuid=UUID, public_key="", unique_token=None, installed=False, over_agent=True)


@pytest.mark.parametrize(
    ("changes", "act"),
    [
        ({}, Act.PEND),
        ({"unique_token": TOKEN}, Act.REGISTER),
        ({"by_uuid": MACHINE}, Act.KEEP),
        ({"by_uuid": REBOOTED}, Act.PEND),
        ({"by_uuid": INSTALLED}, Act.PEND),
        ({"by_uuid": MACHINE, "by_unique_token": MACHINE, "unique_token": TOKEN}, Act.KEEP),
        ({"by_uuid": REBOOTED, "by_unique_token": REBOOTED, "unique_token": TOKEN}, Act.RETURN),
        ({"by_uuid": INSTALLED, "by_unique_token": INSTALLED, "unique_token": TOKEN}, Act.RETURN),
        ({"by_uuid": REBOOTED, "unique_token": REPLACED}, Act.ADOPT_TOKEN),
        ({"by_uuid": REBOOTED, "unique_token": FOREIGN}, Act.PEND_CONFLICT),
        ({"by_uuid": INSTALLED, "unique_token": FOREIGN}, Act.PEND_CONFLICT),
        ({"by_uuid": replace(REBOOTED, unique_token=None), "unique_token": TOKEN}, Act.RETURN),
        ({"by_uuid": BEHIND}, Act.PEND),
        ({"by_uuid": BEHIND, "unique_token": TOKEN}, Act.PEND),  # its hardware was not read yet
        ({"by_uuid": replace(BEHIND, same_hardware=True), "unique_token": TOKEN}, Act.RETURN),
        ({"by_uuid": replace(BEHIND, same_hardware=False), "unique_token": TOKEN}, Act.PEND_CONFLICT),
        ({"by_uuid": replace(BEHIND, same_hardware=False, in_cluster=True), "unique_token": TOKEN}, Act.PEND_CONFLICT),
    ],
)
def test_what_happens(changes: dict[str, object], act: Act) -> None:
    assert decide(replace(NEWCOMER, **changes)) is act


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"token_valid": False}, "PERMISSION_DENIED", "unknown, revoked or expired"),
        ({"token_valid": False, "unique_token": FOREIGN}, "PERMISSION_DENIED", "unknown, revoked or expired"),
        ({"token_valid": False, "by_uuid": MACHINE}, "PERMISSION_DENIED", "unknown, revoked or expired"),
        *(
            (
                {"by_uuid": replace(BEHIND, same_hardware=True, **bound), "unique_token": TOKEN},
                "FAILED_PRECONDITION",
                "reset it before it joins this way",
            )
            for bound in ({"installed": True}, {"in_cluster": True})
        ),
        ({"talos_version": "v1.5.9"}, "FAILED_PRECONDITION", "Talos 1.6 or newer"),
        ({"talos_version": None}, "FAILED_PRECONDITION", "Talos 1.6 or newer"),
        ({"talos_version": "nonsense"}, "FAILED_PRECONDITION", "Talos 1.6 or newer"),
        ({"key_elsewhere": True}, "PERMISSION_DENIED", "belongs to another link"),
        ({"by_uuid": INSTALLED, "unique_token": REPLACED}, "PERMISSION_DENIED", "is another one"),
        (
            {"node_uuid": OTHER_UUID, "by_unique_token": MACHINE, "unique_token": TOKEN},
            "FAILED_PRECONDITION",
            f"registered as {UUID}",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, object], code: str, words: str) -> None:
    refusal = decide(replace(NEWCOMER, **changes))
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    assert words in refusal.text
    assert not any(secret in refusal.text for secret in ("random", 'another"', "foreign"))


def test_a_proven_machine_needs_no_join_token() -> None:
    facts = replace(NEWCOMER, token_valid=False, unique_token=TOKEN, by_unique_token=REBOOTED, by_uuid=REBOOTED)
    assert decide(facts) is Act.RETURN


tokens = st.none() | st.builds(NodeUniqueToken, st.sampled_from(["", "a", "b"]), st.sampled_from(["1", "2"]))
uuids = st.sampled_from([UUID, OTHER_UUID])
keys = st.sampled_from(["key", "other key"])
links = st.builds(KnownLink, uuids, keys, tokens, st.booleans())


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """Facts that can be true together: a link found by something holds it."""
    found = Facts(
        node_uuid=draw(uuids),
        public_key=draw(keys),
        unique_token=draw(tokens),
        talos_version=draw(st.sampled_from(["v1.13.8", "v1.5.0", None])),
        token_valid=draw(st.booleans()),
        by_unique_token=draw(st.none() | links),
        by_uuid=draw(st.none() | links),
        key_elsewhere=draw(st.booleans()),
    )
    proven, same = found.by_unique_token, found.by_uuid
    if proven:
        proven = replace(proven, unique_token=found.unique_token) if found.unique_token else None
    if same:
        same = replace(same, node_uuid=found.node_uuid)
        if proven and proven.node_uuid == found.node_uuid:
            same = proven
        elif same.unique_token == found.unique_token:
            same = replace(same, unique_token=None)
    elif proven and proven.node_uuid == found.node_uuid:
        same = proven
    return replace(found, by_unique_token=proven, by_uuid=same)


TAKES_THE_LINK = {Act.RETURN, Act.ADOPT_TOKEN, Act.KEEP}


@given(facts())
def test_nobody_gets_in_without_a_right(given_facts: Facts) -> None:
    if not given_facts.token_valid and given_facts.by_unique_token is None:
        assert isinstance(decide(given_facts), Refusal)


@given(facts())
def test_a_link_is_taken_only_with_proof_or_likeness(given_facts: Facts) -> None:
    """A second machine with a known UUID never gets the first one's link."""
    act, same, token = decide(given_facts), given_facts.by_uuid, given_facts.unique_token
    if act not in TAKES_THE_LINK or given_facts.by_unique_token is not None:
        return
    assert same is not None
    same_key = same.public_key == given_facts.public_key and token is None
    alike = token is not None and token.same_fingerprint(same.unique_token) and not same.installed
    assert same_key or alike or same.unique_token is None


@given(facts())
def test_a_known_uuid_is_never_registered_again(given_facts: Facts) -> None:
    if given_facts.by_uuid is not None:
        assert decide(given_facts) is not Act.REGISTER


@given(facts())
def test_a_proven_token_decides_alone(given_facts: Facts) -> None:
    """Whether the join token is valid makes no difference to a registered machine."""
    if given_facts.by_unique_token is not None:
        assert decide(replace(given_facts, token_valid=True)) == decide(replace(given_facts, token_valid=False))


@given(facts())
def test_a_key_of_another_link_changes_nothing(given_facts: Facts) -> None:
    assert isinstance(decide(replace(given_facts, key_elsewhere=True)), Refusal)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (UUID, True),
        (UUID.upper(), True),
        ("", False),
        (UUID[:-1], False),
        (UUID + "0", False),
        (UUID.replace("-", ""), False),
        (f"{UUID}\n", False),
        ("../../etc/passwd", False),
    ],
)
def test_uuids(text: str, valid: bool) -> None:
    assert valid_uuid(text) == valid
