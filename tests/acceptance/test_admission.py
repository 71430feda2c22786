"""DICOM films that should not be scored are rejected, unless the person who runs the command admits them."""

import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from tests.support.world import EMBEDDED, dicom_artifact, radiograph
from trainer.phantoms.dicom_file import dicom_file

LATERAL = {"ViewPosition": "LL"}

pytestmark = pytest.mark.parametrize("world", [EMBEDDED], indirect=True)


@pytest.mark.slow
def test_an_admitted_film_is_scored_and_noted_and_others_are_not(world, tmp_path):
    """The flag reaches the process that scores. A rejection says how to admit the film, which is then scored alone."""
    dicom_artifact(world.home / "models")
    (folder := tmp_path / "night").mkdir()
    capture = {"SOPInstanceUID": "1.2.4", "SOPClassUID": SecondaryCaptureImageStorage}
    for number, header in enumerate(({"SOPInstanceUID": "1.2.3"}, capture, {"SOPInstanceUID": "1.2.5", **LATERAL})):
        (folder / f"IM000{number}").write_bytes(dicom_file(radiograph(number), **header))
    done = world.producer("run", "--images", folder, "--admit", "secondary_capture", check=False)
    assert done.returncode == 3, done.stderr
    assert world.rows("SELECT image_name, state, reason, notes FROM results_wide ORDER BY 1") == [
        ("1.2.3", "scored", None, None),
        ("1.2.4", "scored", None, "secondary_capture"),
        ("1.2.5", "rejected", "view", None),
    ]
    [(detail,)] = world.rows("SELECT detail FROM outcomes WHERE reason = 'view'")
    assert "(--admit view, or CXR_ADMIT" in detail
    world.producer("run", "--images", folder, "--admit", "secondary_capture,view")
    latest = "SELECT image_name, state, notes, reused FROM results_wide WHERE run_id = 2 ORDER BY 1"
    assert world.rows(latest) == [
        ("1.2.3", "scored", None, 1),
        ("1.2.4", "scored", "secondary_capture", 1),
        ("1.2.5", "scored", "view", 0),
    ]


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
