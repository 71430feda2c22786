"""The targets of the fuzzer: for each kind of bytes its seeds, its mutations and its oracle."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz import dicom_oracles, dicom_seeds, mutate, oracles, seeds
from tests.fuzz.dicom_structures import structure_changed
from tests.fuzz.png_structures import built_png
from tests.support.encoded_images import checksums_mended

#: Larger images are refused unread. A worker's own limit is a hundred times as high; it is used only now and then,
#: because allocating so much memory takes a while.
_FEW_PIXELS = 1_000_000
_MANY_PIXELS = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader of untrusted bytes."""

    seeds: Callable[[], list[bytes]]
    mutated: Callable[..., bytes]
    oracle: Callable[[bytes], str]


def _mutated_image(content, random, others):
    way = random.random()
    if way < 0.05:
        return built_png(random)
    if way < 0.15:
        return mutate.pixels_changed(content, random)
    changed = mutate.mutated(content, random, others)
    return checksums_mended(changed) if way < 0.5 else changed


def _mutated_film(content, random, others):
    return (mutate.mutated if random.random() < 0.2 else structure_changed)(content, random, others)


def _check_film(encoded):
    return dicom_oracles.check_film(encoded, _FEW_PIXELS)


def _check_real_film(encoded):
    return dicom_oracles.check_film(encoded, _MANY_PIXELS)


def _check_image(encoded):
    # Chosen by content, so that a finding can be reproduced.
    limit = _MANY_PIXELS if sum(encoded[-64:]) % 16 == 0 else _FEW_PIXELS
    return oracles.check_image(encoded, limit)


TARGETS = {
    "images": Target(
        seeds=seeds.images,
        mutated=_mutated_image,
        oracle=_check_image,
    ),
    "films": Target(
        seeds=dicom_seeds.films,
        mutated=_mutated_film,
        oracle=_check_film,
    ),
    "headers": Target(
        seeds=dicom_seeds.films,
        mutated=_mutated_film,
        oracle=dicom_oracles.check_header,
    ),
    "real-films": Target(
        seeds=dicom_seeds.real_films,
        mutated=_mutated_film,
        oracle=_check_real_film,
    ),
    "tables": Target(
        seeds=seeds.tables,
        mutated=mutate.mutated,
        oracle=oracles.check_table,
    ),
    "wires": Target(
        seeds=seeds.wires,
        mutated=mutate.mutated,
        oracle=oracles.check_wire,
    ),
}
