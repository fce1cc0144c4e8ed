"""The own endpoint in templates: read, refused, and through all forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import template
from talos.template import Endpoint, TemplateError

TEXT = """kind: Cluster
name: lab
kubernetes: {version: v1.36.3}
talos: {version: v1.13.8}
endpoint: ENDPOINT
---
kind: ControlPlane
machines: [11111111-2222-4333-8444-555555555501]
"""


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("10.0.0.1", "https://10.0.0.1:6443"),
        ("10.0.0.1:7443", "https://10.0.0.1:7443"),
        ("fd00::1", "https://[fd00::1]:6443"),
        ("[fd00::1]:7443", "https://[fd00::1]:7443"),
        ("k8s.Example.org", "https://k8s.example.org:6443"),
        ("https://k8s.example.org", "https://k8s.example.org:443"),
        ("https://k8s.example.org:8443/", "https://k8s.example.org:8443"),
    ],
)
def test_one_form(text: str, url: str) -> None:
    parsed = Endpoint.parse(text, "")
    assert parsed.url == url
    assert Endpoint.parse(parsed.address, parsed.virtual_ip) == parsed


@pytest.mark.parametrize(
    ("address", "virtual_ip", "words"),
    [
        ("http://x", "", "has to begin with https://"),
        ("x/y", "", "no user, path or query"),
        ("https://me@x", "", "no user, path or query"),
        ("a b", "", "no host name"),
        ("x:99999", "", "no URL"),
        ("10.0.0.300", "", "no IP address"),
        ("https://", "", "no host"),
        ("0.0.0.0", "", "no address of one host"),
        ("", "ff02::1", "no address of one host"),
        ("", "169.254.0.1", "no address of one host"),
        ("", "k8s.example.org", "virtualIP: 'k8s.example.org' is no IP address"),
        ("", "10.0.0.0/24", "no IP address"),
    ],
)
def test_refused(address: str, virtual_ip: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Endpoint.parse(address, virtual_ip)


def test_every_mistake_is_named_at_once() -> None:
    parsed = template.load(TEXT.replace("ENDPOINT", "{address: 'http://x', virtualIP: nope}"))
    with pytest.raises(TemplateError) as refused:
        template.validate(parsed)
    assert "error validating endpoint: 2 errors occurred" in str(refused.value)


@pytest.mark.parametrize(("text", "words"), [("{}", "address or virtualIP is required"), ("{host: x}", "host")])
def test_an_endpoint_says_something(text: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        template.validate(template.load(TEXT.replace("ENDPOINT", text)))


hosts = st.one_of(
    st.ip_addresses().filter(lambda ip: not (ip.is_unspecified or ip.is_multicast or ip.is_link_local)).map(str),
    st.from_regex(r"[a-z]([a-z0-9]{0,9}\.[a-z]{1,5})?", fullmatch=True),
)
addresses = st.ip_addresses().filter(lambda ip: not (ip.is_unspecified or ip.is_multicast or ip.is_link_local))


@given(hosts, st.one_of(st.just(""), addresses.map(str)))
def test_export_syncs_to_no_change(address: str, virtual_ip: str) -> None:
    text = TEXT.replace("ENDPOINT", f"{{address: '{address}', virtualIP: '{virtual_ip}'}}")
    first = template.translate(template.load(text))
    again = template.translate(template.load(template.export("lab", first)))
    assert template.plan("lab", again, first).empty
    assert template.endpoint_of(first[0].spec) == Endpoint.parse(address, virtual_ip)


def test_templates_of_others_stay_as_they_are() -> None:
    (resource, *_) = template.translate(template.load(TEXT.replace("endpoint: ENDPOINT\n", "")))
    assert "endpoint" not in resource.spec
    assert not template.endpoint_of(resource.spec)
