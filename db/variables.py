"""The names of the environment variables that the program reads, and a warning about names that it does not.

A test compares them with the fields of all settings and the flags of all commands. They are repeated here because every
command warns of a wrong name, `python -m db` too, and this floor cannot import the settings of those above it.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

PREFIX: Final = "CXR_"

#: The fields of the settings, which may also be read from a file.
_SETTINGS: Final = """
    home database_url model_dir broker_url chunk_size time_budget visibility_timeout sweep_interval read_threads
    decode_threads per_gpu runtime precision max_pixels pixel_cache_gb log_format metrics_port metrics_host
    health_seconds stall_seconds events reject_colour admit stop_rate stop_after webhook_url smtp_url mail_from mail_to
""".upper().split()
#: Variables of flags that are no settings.
_FLAGS: Final = """
    csv images study_date model gpus nightly_at nightly_tz drift_reference preset encoder epochs seed
""".upper().split()

_NAMES: Final = [PREFIX + name for name in (*_SETTINGS, *_FLAGS)]
#: Every variable that the program reads.
KNOWN: Final = frozenset({*_NAMES, *(f"{PREFIX}{name}_FILE" for name in _SETTINGS)})
#: How alike two names are, from 0 to 1, of which one is taken for the other.
_ALIKE: Final = 0.7


def describe_unknown(variables: Iterable[str]) -> Iterator[str]:
    """A sentence for each variable that begins with `CXR_` and that the program does not read, as nobody would notice.

    Args:
        variables: the names of the environment.
    """
    for variable in sorted(variables):
        # Other characters might control the terminal.
        if variable.upper().startswith(PREFIX) and variable.isidentifier() and not _is_known(variable):
            near = get_close_matches(variable.upper().removesuffix("_FILE"), _NAMES, n=1, cutoff=_ALIKE)
            yield f"{variable} is not a setting" + (f"; did you mean {near[0]}?" if near else "")


def _is_known(variable: str) -> bool:
    # Pydantic reads the settings in upper and lower case.
    return variable in KNOWN or variable.upper().removeprefix(PREFIX) in _SETTINGS
