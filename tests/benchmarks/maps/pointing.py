"""The pointing game on NIH's boxes: does the cell that contributes most lie in a radiologist's box?

Source: Zhang et al., Top-down neural attention by excitation backprop, IJCV 126 (2018).
"""

import csv
import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.evaluation.estimate import Estimate, Statistic, difference, estimate, estimate_share, leave_out
from db.evaluation.format import format_estimate
from producer.browse.rendering.maps import Maps
from worker.artifacts.model_store import FolderModelStore, find_by_name
from worker.images.pixels import to_pixels
from worker.settings import ModelSettings

#: The side in pixels of the films on which NIH's radiologists drew boxes.
SIDE: Final = 1024
#: The folders of films; the first that has a scan gives it.
FOLDERS: Final = ("starter", "nih1024", "nih128")
#: The list's names that are not those of NIH's labels.
NAMES: Final = {"Infiltrate": "Infiltration"}
#: Pixels that a point may lie outside of a box, as some authors allow.
TOLERANCE: Final = 15
#: Distance in pixels of the points among which the finer prior chooses.
STEP: Final = 8

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box in pixels of the film."""

    image: str
    finding: str
    x: float
    y: float
    width: float
    height: float

    @property
    def patient(self) -> str:
        """The patient, who is part of the image's name."""
        return self.image[:8]

    def holds(self, point: Point, tolerance: float = 0) -> bool:
        """Whether a point lies in the box or at most `tolerance` pixels outside of it."""
        x, y = point[0] - self.x, point[1] - self.y
        return -tolerance <= x <= self.width + tolerance and -tolerance <= y <= self.height + tolerance


@dataclass(frozen=True, kw_only=True)
class Game:
    """One finding of one scan, whose boxes a point should hit."""

    patient: str
    finding: str
    boxes: tuple[Box, ...]
    #: By way of choosing.
    points: Mapping[str, Point]
    #: The share of the map's cells whose centre is a hit.
    chance: float

    def hit(self, way: str, tolerance: float = 0) -> bool:
        """Whether the point lies in one of the boxes."""
        return any(box.holds(self.points[way], tolerance) for box in self.boxes)


def read_boxes(path: Path) -> list[Box]:
    """NIH's list of boxes."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.reader(file))[1:]
    return [
        Box(image=row[0], finding=NAMES.get(row[1], row[1]), x=x, y=y, width=width, height=height)
        for row in rows
        for x, y, width, height in [map(float, row[2:6])]
    ]


def centres(rows: int, columns: int) -> list[Point]:
    """The centres of a grid's cells in pixels of the film, row by row."""
    return [
        ((column + 0.5) * SIDE / columns, (row + 0.5) * SIDE / rows) for row in range(rows) for column in range(columns)
    ]


def strongest(cells: NDArray[np.float64]) -> Point:
    """The centre of the cell (h, w) that contributes most; of the first, if several do."""
    return centres(*cells.shape)[int(np.argmax(cells))]


def most_frequent(boxes: Sequence[Box], points: Sequence[Point]) -> Point:
    """The point that lies in most boxes; the first, if several do."""
    array = np.array(points)
    inside = np.zeros(len(points), np.int64)
    for box in boxes:
        within = (array >= (box.x, box.y)) & (array <= (box.x + box.width, box.y + box.height))
        inside += within.all(axis=1)
    return tuple(array[np.argmax(inside)])


def play(settings: ModelSettings, model: str, data: Path) -> list[Game]:
    """A game for each finding with boxes of each scan that is here.

    Raises:
        ValueError: the model was fitted on a patient with a box.
    """
    boxes, maps = read_boxes(data / "reference" / "bbox_list_2017.csv.gz"), Maps(settings)
    artifact = find_by_name(model, FolderModelStore(Path(settings.model_dir)))
    check_unseen(artifact.folder / "split.csv", {box.patient for box in boxes})
    fine = centres(SIDE // STEP, SIDE // STEP)
    games = []
    for image, path in films(data, {box.image for box in boxes}).items():
        found = maps.maps_of(artifact.sha256, to_pixels(path.read_bytes(), artifact.manifest.preprocessing))
        for finding in sorted({box.finding for box in boxes if box.image == image} & set(found.findings)):
            cells = found.cells[found.findings.index(finding)]
            grid = centres(*cells.shape)
            others = [box for box in boxes if box.finding == finding and box.patient != image[:8]]
            points = {
                "map": strongest(cells),
                "usual cell": most_frequent(others, grid),
                "usual point": most_frequent(others, fine),
                "film's centre": (SIDE / 2, SIDE / 2),
            }
            own = tuple(box for box in boxes if (box.image, box.finding) == (image, finding))
            chance = sum(any(box.holds(point) for box in own) for point in grid) / len(grid)
            games.append(Game(patient=image[:8], finding=finding, boxes=own, points=points, chance=chance))
    return games


def check_unseen(split: Path, patients: set[str]) -> None:
    with split.open(newline="") as file:
        seen = {row["image_name"][:8] for row in csv.DictReader(file)}
    if both := seen & patients:
        raise ValueError(f"the model was fitted or tuned on {len(both)} patients who have boxes")


def films(data: Path, images: set[str]) -> dict[str, Path]:
    """The file of each image that is here."""
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in sorted((data / folder / "images").iterdir()):
            if path.name in images:
                found.setdefault(path.name, path)
    return found


def share(games: Sequence[Game], hit: Callable[[Game], bool]) -> Statistic:
    """The share of games that are hits, with each patient's influence on it."""
    patients = sorted({game.patient for game in games})
    hits = np.array([sum(hit(game) for game in games if game.patient == one) for one in patients], np.float64)
    count = np.array([sum(game.patient == one for game in games) for one in patients], np.float64)
    value = float(hits.sum() / count.sum())
    influence = leave_out((hits - value * count) / count.sum(), count / count.sum())
    return Statistic(value=value, influence=influence)


def with_interval(statistic: Statistic) -> Estimate:
    return estimate_share(
        statistic.value,
        variance=statistic.variance,
        freedom=statistic.degrees_of_freedom,
        patients=len(statistic.influence),
    )


def print_table(settings: ModelSettings, model: str, data: Path) -> None:
    """Play, and print a row for each finding and for all, what chance gives, and the differences over all."""
    games = play(settings, model, data)
    ways = list(games[0].points)
    print(f"| finding | boxes | patients | {' | '.join(ways)} |\n|---|---|---|{'---|' * len(ways)}")
    for finding in [*sorted({game.finding for game in games}), "all"]:
        some = [game for game in games if finding in ("all", game.finding)]
        figures = [format_estimate(with_interval(share(some, lambda game, w=way: game.hit(w)))) for way in ways]
        boxes, patients = sum(len(game.boxes) for game in some), len({game.patient for game in some})
        print(f"| {finding} | {boxes} | {patients} | {' | '.join(figures)} |")
    tolerant = [share(games, lambda game, w=way: game.hit(w, TOLERANCE)) for way in ways]
    figures = [format_estimate(with_interval(one)) for one in tolerant]
    print(f"| all, {TOLERANCE} pixels around | | | {' | '.join(figures)} |")
    print(f"a cell at random: {sum(game.chance for game in games) / len(games):.3f}")
    first, *others = (share(games, lambda game, w=way: game.hit(w)) for way in ways)
    for way, other in zip(ways[1:], others, strict=True):
        print(f"map less {way}: {format_estimate(estimate(difference(first, other), 'identity'))}")
