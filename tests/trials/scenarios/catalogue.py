"""List every scenario, by group."""

from __future__ import annotations

from typing import Final

from tests.trials.scenarios import basic, on_mobile_networks, path_look_alikes, service_look_alikes, unlike_the_usual
from tests.trials.scenarios.scenario import Scenario, registered

GROUPS: Final = (basic, service_look_alikes, path_look_alikes, on_mobile_networks, unlike_the_usual)
SCENARIOS: Final[tuple[Scenario, ...]] = registered()
