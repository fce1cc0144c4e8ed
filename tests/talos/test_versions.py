"""Versions that go together, and the names of images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos import images, semver, versions

KUBERNETES = versions.built_in_kubernetes_versions()
TALOS = versions.built_in_talos_versions()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'parsing "": invalid syntax'),
        ("1.2.3-", "Prerelease is empty"),
        ("1.2.3-01", "Numeric PreRelease version must not contain leading zeroes"),
        ("1.2.3-a_b", "Invalid character(s) found in prerelease"),
        ("1.2.3+", "Build meta data is empty"),
        ("1.2.3+a_b", "Invalid character(s) found in build meta data"),
        ("1.2-rc", "Short version cannot contain PreRelease/Build meta data"),
        ("1.99999999999999999999", "value out of range"),
        ("1.2.3.4", "Invalid character(s) found in patch number"),
    ],
)
def test_bad_versions_are_refused_with_a_reason(text, reason):
    with pytest.raises(ValueError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        semver.parse(text)


def test_versions_order_by_precedence():
    texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"]
    parsed = [semver.parse(text) for text in texts]
    assert sorted(parsed[3:] + parsed[:3]) == parsed
    assert semver.parse("1.0.0+a") == semver.parse("1.0.0+b")
    assert hash(semver.parse("1.0.0+a")) == hash(semver.parse("1.0.0+b"))


numbers = st.integers(0, 2**64 - 1)


@given(numbers, numbers, numbers)
def test_a_version_survives_being_written(major, minor, patch):
    version = semver.Version(major, minor, patch)
    assert semver.parse(f"v{version}") == version


def test_every_built_in_talos_version_has_kubernetes_versions_and_a_default():
    for talos in TALOS:
        default = versions.default_kubernetes(talos)
        assert default in versions.compatible_kubernetes(talos, KUBERNETES)
    assert TALOS[-1] == versions.CURRENT_TALOS
    assert not versions.DENIED_TALOS & set(TALOS)


def test_there_is_no_default_for_an_unknown_release():
    with pytest.raises(ValueError, match=r"compatibility with version 1\.15\.0 is not supported"):
        versions.default_kubernetes("v1.15.0")


def test_kubernetes_goes_one_minor_at_a_time_within_what_talos_supports():
    upgrades = versions.kubernetes_upgrades("1.36.1", "1.13.9", KUBERNETES)
    assert "1.36.0" in upgrades
    assert "1.36.2" in upgrades
    assert "1.36.1" not in upgrades
    assert all(version.startswith("1.36.") for version in upgrades)
    assert "1.37.0" in versions.kubernetes_upgrades("1.36.1", "1.14.1", KUBERNETES)


def test_talos_never_goes_below_the_line_its_cluster_was_made_with():
    upgrades = versions.talos_upgrades("1.13.2", "1.34.1", "1.13.0", TALOS)
    assert upgrades == ["1.13.0", *(f"1.13.{patch}" for patch in range(3, 10)), "1.14.0", "1.14.1"]


def test_talos_goes_nowhere_where_its_kubernetes_cannot_follow():
    upgrades = versions.talos_upgrades("1.13.2", "1.31.0", "1.12.0", TALOS)
    assert not any(version.startswith("1.14.") for version in upgrades)
    assert any(version.startswith("1.12.") for version in upgrades)


@pytest.mark.parametrize(
    ("talos", "platform", "secure_boot", "name"),
    [
        ("v1.9.5", "aws", False, "installer"),
        ("1.9.5", "metal", True, "installer-secureboot"),
        ("1.10.0", "metal", False, "metal-installer"),
        ("1.14.1", "nocloud", True, "nocloud-installer-secureboot"),
    ],
)
def test_installer_names(talos, platform, secure_boot, name):
    image = images.installer(talos, "f00", platform, secure_boot=secure_boot, factory="factory.example")
    assert image == f"factory.example/{name}/f00:v{talos.removeprefix('v')}"


def test_the_installer_without_a_schematic_is_for_bare_metal_only():
    assert images.installer("1.14.1", None) == "ghcr.io/siderolabs/installer:v1.14.1"
    with pytest.raises(ValueError, match="an installer for aws needs a schematic"):
        images.installer("1.14.1", None, "aws")
    with pytest.raises(ValueError, match="an installer for secure boot needs a schematic"):
        images.installer("1.14.1", None, secure_boot=True)


def test_kubernetes_image_names():
    assert images.kubernetes(images.KUBELET, "v1.37.0") == images.kubernetes(images.KUBELET, "1.37.0")
    assert str(images.kubernetes_version(images.kubernetes(images.API_SERVER, "1.37.0"))) == "1.37.0"
