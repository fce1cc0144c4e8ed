"""Settings come from the environment and say what is wrong with them."""

import os
from pathlib import Path

import pytest

from omni.config import SOCKET_PATH_LIMIT, Config, ConfigError, split_address


def test_what_is_told_to_children_is_what_they_read() -> None:
    given = {"OMNI_DATA": "/srv/omni", "OMNI_LISTEN": "[::1]:443", "OMNI_WIREGUARD_PORT": "51820"}
    config = Config.from_env(given | {"OMNI_DISCOVERY": "False", "OMNI_DISCOVERY_INTERVAL": "60"})
    assert Config.from_env(config.to_env()) == config
    assert (config.discovery, config.discovery_interval) == (False, 60)
    assert config.data == Path("/srv/omni")
    assert config.wireguard_port == 51820


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OMNI_WIREGUARD_PORT", "0"),
        ("OMNI_WIREGUARD_PORT", "65536"),
        ("OMNI_WIREGUARD_PORT", "many"),
        ("OMNI_LISTEN", "8443"),
        ("OMNI_LISTEN", "host:port"),
        ("OMNI_LISTEN", "host:70000"),
        ("OMNI_LOG", "loud"),
        ("OMNI_GATEWAY_NAME", "-one"),
        ("OMNI_GATEWAY_NAME", "one two"),
        ("OMNI_INTERNAL", "8444"),
        ("OMNI_PROBE", "host"),
        ("OMNI_WEB", "10.0.0.1"),
        ("OMNI_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("OMNI_DISCOVERY", "perhaps"),
        ("OMNI_DISCOVERY_INTERVAL", "9"),
        ("OMNI_DISCOVERY_INTERVAL", "10m"),
    ],
)
def test_errors_name_value_and_remedy(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=value):
        Config.from_env({variable: value})


@pytest.mark.parametrize(
    ("address", "expected"),
    [("a:1", ("a", 1)), ("[::1]:2", ("::1", 2)), (":3", ("0.0.0.0", 3)), ("1.2.3.4:5", ("1.2.3.4", 5))],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


def test_sockets_of_a_deep_folder_still_fit() -> None:
    deep = Config(data=Path("/" + "x" * 200))
    assert len(os.fsencode(deep.run / ".s.PGSQL.5432.lock")) <= SOCKET_PATH_LIMIT
    assert deep.run != Config(data=Path("/" + "y" * 200)).run
    assert Config(data=Path("/srv/omni")).run == Path("/srv/omni/run")


@pytest.mark.parametrize(
    ("settings", "url", "host"),
    [
        ({}, "https://127.0.0.1:8443", "127.0.0.1"),
        ({"listen": "[::1]:443"}, "https://[::1]:443", "::1"),
        ({"url": "https://omni.example.com/"}, "https://omni.example.com", "omni.example.com"),
        ({"url": "https://omni.example.com", "advertise": "192.0.2.1"}, "https://omni.example.com", "192.0.2.1"),
        ({"listen": "0.0.0.0:443", "advertise": "192.0.2.1"}, "https://192.0.2.1:443", "192.0.2.1"),
    ],
)
def test_where_people_and_machines_reach_it(settings: dict[str, str], url: str, host: str) -> None:
    config = Config(**settings)
    assert (config.public_url, config.machine_host) == (url, host)


def test_what_several_processes_are_told() -> None:
    config = Config.from_env(
        {
            "OMNI_INTERNAL": "0.0.0.0:8444",
            "OMNI_WEB": "10.0.0.31:8444, [fd00::32]:8444",
            "OMNI_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1",
            "OMNI_KEYS": "/etc/omni/keys",
        }
    )
    host, port = split_address(config.internal_address)
    assert (host != "0.0.0.0", port) == (True, 8444)  # told to other hosts
    assert config.web_addresses == ["10.0.0.31:8444", "[fd00::32]:8444"]
    assert config.trusted_networks == ["10.0.0.0/8", "192.0.2.1"]
    assert (config.key_folder, config.kek) == (Path("/etc/omni/keys"), Path("/etc/omni/keys/kek"))
    assert Config.from_env({}).internal_address == ""
