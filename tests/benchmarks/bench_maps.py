"""Measures class activation maps: whether they add up to logits, their time and memory, and the pointing game.

    python -m tests.benchmarks.bench_maps agree --home demo/home
    python -m tests.benchmarks.bench_maps agree --images ../shared/data/starter/images [--model NAME --models FOLDER]
    python -m tests.benchmarks.bench_maps point --model NAME --models FOLDER

`agree` computes the maps of every scan of a home's latest run, and compares the scores of the same pass with the
recorded ones; or of every image of a folder, by default with a DenseNet121 of 224 x 224 whose weights are random.
`point` prints the table of docs/maps.md from the scans of ../shared/data that have one of NIH's boxes; the model must
be fitted on other patients.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from db.addresses import sqlite_address
from db.settings import load_settings
from producer import Ledger
from producer.browse.rendering.maps import Maps
from worker.artifacts.manifest import Artifact
from worker.artifacts.model_store import FolderModelStore, find_by_name
from worker.images.pixels import to_pixels
from worker.settings import ModelSettings

DATA: Final = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A scan's image and its recorded scores by finding, if there are any."""

    path: Path
    scores: dict[str, float]


def main() -> None:
    """Run what the command line says."""
    options = parse()
    if options.what == "point":
        from tests.benchmarks.maps.pointing import print_table

        print_table(load_settings(ModelSettings, model_dir=str(options.models)), options.model, options.data)
        return
    if options.home:
        settings = load_settings(ModelSettings, home=options.home)
        model, scans = read_run(options.home)
        print(json.dumps(compare(settings, find_by_name(model, FolderModelStore(Path(settings.model_dir))), scans)))
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(ModelSettings, model_dir=str(options.models or folder))
        store = FolderModelStore(Path(settings.model_dir))
        artifact = find_by_name(options.model, store) if options.model else random_model(store)
        scans = [Scan(path=path, scores={}) for path in sorted(options.images.iterdir())]
        print(json.dumps(compare(settings, artifact, scans)))


def read_run(home: Path) -> tuple[str, list[Scan]]:
    """The model and the scans of a home's latest run."""
    with Ledger(sqlite_address(home.absolute() / "nightread.sqlite")) as ledger:
        rows = ledger.results()
    scans = [
        Scan(path=Path(location), scores=dict(zip(group.finding, group.score, strict=True)))
        for location, group in rows.groupby("location")
    ]
    return rows.model[0], scans


def random_model(store: FolderModelStore) -> Artifact:
    """Publish a DenseNet121 with random weights, for NIH's 14 findings."""
    import numpy as np

    from db.findings import NIH_FINDINGS
    from trainer.network.model import LOGITS, build_model
    from trainer.publishing.publish import write_artifact
    from trainer.recipe import make_recipe
    from worker.artifacts.manifest import Manifest

    recipe = make_recipe("best")
    model = build_model(recipe, NIH_FINDINGS)
    head, rng = model.get_layer(LOGITS), np.random.default_rng(0)
    head.set_weights([rng.normal(0, 0.1, array.shape) for array in head.get_weights()])
    manifest = Manifest(
        format_version=2, name="random", findings=NIH_FINDINGS, preprocessing=recipe.preprocessing, dataset="none"
    )
    return write_artifact(model, manifest, split=(), models=store)


def compare(settings: ModelSettings, artifact: Artifact, scans: Sequence[Scan]) -> dict[str, Any]:
    """The maps of all scans: errors, times and memory."""
    maps, memories = Maps(settings), [memory()]
    seconds, errors, differences = [], [], [0.0]
    for scan, pixels in decoded(scans, artifact):
        started = time.perf_counter()
        found = maps.maps_of(artifact.sha256, pixels)
        seconds.append(time.perf_counter() - started)
        memories.append(memory())
        errors.append(found.largest_error)
        scores = dict(zip(found.findings, found.scores.tolist(), strict=True))
        differences += [abs(scores[finding] - score) for finding, score in scan.scores.items()]
    return {
        "model": artifact.manifest.name,
        "encoder": artifact.manifest.encoder,
        "pixels": artifact.manifest.preprocessing.shape,
        "grain": found.cells.shape[1:],
        "scans": len(errors),
        "maps": len(errors) * len(found.findings),
        "largest_relative_error": max(errors),
        "largest_difference_to_recorded_score": max(differences),
        "first_map_s": seconds[0],
        "later_map_ms_median": 1000 * median(seconds[1:]),
        "later_map_ms_largest": 1000 * max(seconds[1:]),
        "memory_before_mb": memories[0],
        "memory_after_the_first_mb": memories[1],
        "memory_at_the_end_mb": memories[-1],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def decoded(scans: Sequence[Scan], artifact: Artifact) -> Iterator[tuple[Scan, Any]]:
    """Each scan with its pixels, as a worker gives them to the model."""
    for scan in scans:
        yield scan, to_pixels(scan.path.read_bytes(), artifact.manifest.preprocessing)


def memory() -> float:
    """What this process has in memory now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    agree, point = commands.add_parser("agree"), commands.add_parser("point")
    for command in (agree, point):
        command.add_argument("--model", help="a model's name or hash", required=command is point)
        command.add_argument("--models", type=Path, help="the folder of models", required=command is point)
    source = agree.add_mutually_exclusive_group(required=True)
    source.add_argument("--home", type=Path, help="a home with a finished run, and its model")
    source.add_argument("--images", type=Path, help="a folder of images")
    point.add_argument("--data", type=Path, default=DATA, help="the folder with reference/ (default %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
