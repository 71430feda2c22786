"""What is fuzzed: a kind of bytes, its seeds, its accidents, its judge."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz import judge, mutate, seeds
from tests.support.encoded_images import checksums_mended

#: Beyond it an image is refused unread; a worker's own limit is a hundred times this, and that is what is run now and
#: then, because clearing that much memory takes a while.
_FEW_PIXELS = 1_000_000
_MANY_PIXELS = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader of bytes from elsewhere."""

    seeds: Callable[[], list[bytes]]
    mutated: Callable[..., bytes]
    judge: Callable[[bytes], str]


def _mutated_image(content, random, others):
    way = random.random()
    if way < 0.15:
        return mutate.pixels_changed(content, random)
    changed = mutate.mutated(content, random, others)
    return checksums_mended(changed) if way < 0.5 else changed


def _judge_image(encoded):
    # By content, so that a finding is found again.
    limit = _MANY_PIXELS if sum(encoded[-64:]) % 16 == 0 else _FEW_PIXELS
    return judge.judge_image(encoded, limit)


TARGETS = {
    "images": Target(
        seeds=seeds.images,
        mutated=_mutated_image,
        judge=_judge_image,
    ),
    "tables": Target(
        seeds=seeds.tables,
        mutated=mutate.mutated,
        judge=judge.judge_table,
    ),
    "wires": Target(
        seeds=seeds.wires,
        mutated=mutate.mutated,
        judge=judge.judge_wire,
    ),
}
