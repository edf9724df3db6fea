"""Event packages brought by other distributions."""

from importlib.metadata import EntryPoint

import pytest

from presence import packages
from presence.errors import ConfigError

FOREIGN = EntryPoint("weather", "test_packages:WeatherPackage", packages.PLUGINS)


def install(monkeypatch, *plugins):
    monkeypatch.setattr(packages, "entry_points", lambda group: [p for p in plugins if p.group == group])


def test_an_installed_package_is_served(monkeypatch):
    install(monkeypatch, FOREIGN)
    assert "weather" in packages.load_packages().names


@pytest.mark.parametrize(
    "value", ["no_such_module:Package", "test_packages:NoSuchPackage", "presence.events.presence:PresencePackage"]
)
def test_a_package_that_cannot_be_had_stops_the_start(monkeypatch, value):
    install(monkeypatch, EntryPoint("broken", value, packages.PLUGINS))
    with pytest.raises(ConfigError, match="event package broken"):
        packages.load_packages()
