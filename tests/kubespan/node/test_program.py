"""The command line of the daemon."""

import base64

import pytest

from kubespan.node import __main__ as program
from kubespan.node.wireguard import Kind

SECRET = base64.b64encode(bytes(range(32))).decode()
DOCUMENT = f"""
version: v1alpha1
machine: {{}}
---
apiVersion: v1alpha1
kind: DiscoveryIdentityConfig
clusterID: a-cluster
clusterSecret: {SECRET}
"""


@pytest.mark.parametrize("text", [f"cluster: {{id: a-cluster, secret: {SECRET}}}", DOCUMENT])
def test_where_the_secret_is(text):
    assert program.read_cluster(text) == ("a-cluster", bytes(range(32)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no cluster.id and cluster.secret"),
        ("cluster: {id: a-cluster}", "no cluster.id and cluster.secret"),
        ("cluster: {id: a-cluster, secret: AAAA}", "base64 of 3 bytes, not of 32"),
        ("cluster: [", "is no YAML"),
        ("- a list", "no cluster.id and cluster.secret"),
    ],
)
def test_files_without_one(text, words):
    with pytest.raises(ValueError, match=words):
        program.read_cluster(text)


def given(folder, *arguments):
    (folder / "cluster").write_text(f"cluster: {{id: a-cluster, secret: {SECRET}}}")
    required = ["--service", "https://discovery.example.org/", "--cluster", str(folder / "cluster")]
    return program.parser().parse_args([*required, *arguments])


def test_settings(tmp_path):
    settings = program.settings(
        given(
            tmp_path,
            *("--wireguard", "wireguard-go", "--harvest", "--extra-endpoint", "203.0.113.7:52000"),
            *("--filter-endpoints", "0.0.0.0/0", "--filter-endpoints", "!10.0.0.0/8", "--advertise", "10.5.0.1/16"),
        )
    )
    assert (settings.cluster_id, settings.kind, settings.harvest_extra_endpoints) == (
        "a-cluster",
        Kind.WIREGUARD_GO,
        True,
    )
    assert [str(it) for it in settings.extra_endpoints] == ["203.0.113.7:52000"]
    assert [it.negated for it in settings.endpoint_filters] == [False, True]
    assert [str(it) for it in settings.additional_addresses] == ["10.5.0.1/16"]
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("--filter-endpoints", "!ten", "'!ten' is no filter"),
        ("--extra-endpoint", "203.0.113.7", "'203.0.113.7' is no endpoint"),
        ("--service", "ftp://discovery.example.org", "is no discovery service"),
        ("--port", "0", "'0' is no number from 1 to 65535"),
        ("--mtu", "1279", "'1279' is no number from 1280 to"),
        ("--interface", "a-name-too-long-", "names no interface"),
        ("--interface", "; reboot", "names no interface"),
        ("--cluster", "/nowhere/at-all", "No such file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, capsys, argument, value, words):
    (tmp_path / "cluster").write_text(f"cluster: {{id: a-cluster, secret: {SECRET}}}")
    required = ["--service", "https://discovery.example.org/", "--cluster", str(tmp_path / "cluster")]
    with pytest.raises(SystemExit) as ended:
        program.build([*required, argument, value])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
