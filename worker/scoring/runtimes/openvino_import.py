"""OpenVINO without its telemetry: import it from here alone.

Left to itself it tells an analytics service that it was imported, from a process of its own, and what it converts.
"""

import sys
from types import ModuleType
from typing import cast

# None in a module's place is a module that is not installed, and OpenVINO goes without.
sys.modules["openvino_telemetry"] = cast("ModuleType", None)

import openvino  # noqa: E402, TID251 -- here it is

__all__ = ["openvino"]
