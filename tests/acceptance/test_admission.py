"""DICOM films that should not be scored are rejected, unless the person who runs the command admits them."""

import cv2
import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from tests.support.world import EMBEDDED, dicom_artifact, radiograph
from trainer.phantoms.dicom_file import dicom_file

pytestmark = pytest.mark.parametrize("world", [EMBEDDED], indirect=True)


@pytest.mark.slow
def test_a_film_is_rejected_with_its_reason_and_scored_with_a_note_where_it_is_admitted(world, tmp_path):
    """A scan keeps what it has until it is scored again with --rescore."""
    dicom_artifact(world.home / "models")
    folder = tmp_path / "night"
    folder.mkdir()
    cv2.imwrite(str(folder / "film.png"), radiograph(0))
    (folder / "film.dcm").write_bytes(dicom_file(radiograph(1), SOPInstanceUID="1.2.3"))
    capture = dicom_file(radiograph(2), SOPInstanceUID="1.2.4", SOPClassUID=SecondaryCaptureImageStorage)
    (folder / "capture").write_bytes(capture)
    latest = (
        "SELECT s.image_name, o.state, o.reason, o.notes FROM outcomes o JOIN scans s ON s.id = o.scan_id "
        "JOIN run_scans r ON r.outcome_id = o.id WHERE r.run_id = (SELECT max(id) FROM runs) ORDER BY 1"
    )
    films = [("1.2.3", "scored", None, None), ("film.png", "scored", None, None)]
    noted, rejected = ("1.2.4", "scored", None, "secondary_capture"), ("1.2.4", "rejected", "secondary_capture", None)
    for options, code, capture in [
        ((), 3, rejected),
        (["--admit", "secondary_capture"], 3, rejected),
        (["--admit", "secondary_capture", "--rescore"], 0, noted),
    ]:
        done = world.producer("run", "--images", folder, *options, check=False)
        assert done.returncode == code, done.stderr
        assert world.rows(latest) == sorted([*films, capture]), options
    [(detail,)] = world.rows("SELECT detail FROM outcomes WHERE state = 'rejected'")
    assert "--admit secondary_capture" in detail


@pytest.mark.parametrize(
    ("module", "arguments"), [("producer.cli", ["run", "--images", "."]), ("worker.cli", ["start", "--gpus", "none"])]
)
def test_an_unknown_code_ends_the_command_before_it_writes_anything(world, module, arguments):
    """In one sentence with all codes."""
    done = world._command(module, [*arguments, "--admit", "secondary"], check=False)
    assert done.returncode == 2
    assert "'secondary' is not a code; the codes are sop_class, secondary_capture, " in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(world.home.iterdir())
