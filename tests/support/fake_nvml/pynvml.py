"""A fake driver for machines without GPUs: pynvml as this program calls it, before the real one on PYTHONPATH.

FAKE_NVML lists the cards: `GPU-a,GPU-b=MIG-x+MIG-y,GPU-c!` are a plain card, one in MIG mode, and one that fell off
the bus. Without FAKE_NVML there is no driver; `broken` is a driver that does not answer.
"""

import os


class NVMLError(Exception):
    pass


class NVMLError_LibraryNotFound(NVMLError):
    pass


class NVMLError_DriverNotLoaded(NVMLError):
    pass


class NVMLError_LibRmVersionMismatch(NVMLError):
    pass


class NVMLError_NotSupported(NVMLError):
    pass


class NVMLError_NotFound(NVMLError):
    pass


class NVMLError_NoPermission(NVMLError):
    pass


class NVMLError_GpuIsLost(NVMLError):
    pass


def nvmlInit():
    if "FAKE_NVML" not in os.environ:
        raise NVMLError_LibraryNotFound("NVML Shared Library Not Found")
    if os.environ["FAKE_NVML"] == "broken":
        raise NVMLError_LibRmVersionMismatch("RM has detected an NVML/RM version mismatch.")


def nvmlShutdown():
    pass


def _cards():
    return [card for card in os.environ["FAKE_NVML"].split(",") if card]


def nvmlDeviceGetCount():
    return len(_cards())


def nvmlDeviceGetHandleByIndex(index):
    card = _cards()[index]
    if card.endswith("!"):
        raise NVMLError_GpuIsLost("GPU is lost")
    return card


def nvmlDeviceGetUUID(handle):
    return handle.partition("=")[0]


def nvmlDeviceGetMigMode(handle):
    if "=" not in handle:
        raise NVMLError_NotSupported("Not Supported")
    return [1, 1]


def nvmlDeviceGetMaxMigDeviceCount(handle):
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(handle, index):
    parts = [part for part in handle.partition("=")[2].split("+") if part]
    if index >= len(parts):
        raise NVMLError_NotFound("Not Found")
    return parts[index]
