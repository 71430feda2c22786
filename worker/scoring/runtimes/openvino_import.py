"""Imports OpenVINO without its telemetry. Import it only from here.

By default OpenVINO starts a process that reports its import and its conversions to an analytics service.
"""

import sys
from types import ModuleType
from typing import cast

# With None in its place the telemetry module counts as not installed, and OpenVINO works without it.
sys.modules["openvino_telemetry"] = cast("ModuleType", None)

import openvino  # noqa: E402, TID251 -- the one place that may import it

__all__ = ["openvino"]
