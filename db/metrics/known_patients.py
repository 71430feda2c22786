"""Says for how many scans held out can be told: only where the fitted scans are known, and have patient ids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select

from db.metrics.held_out import FITTED_SUBSETS
from db.schema.tables import Model, ModelScan, Run, RunScan, Scan

#: What stands beside every figure of a model of which nobody knows all fitted scans.
HELD_OUT_UNKNOWN: Final = "held out: unknown"


@dataclass(frozen=True, kw_only=True)
class KnownPatients:
    """How many scans have a patient id: of the judged scans, and of those known to be fitted or tuned on."""

    scans: int
    scans_with_patient: int
    fitted: int
    fitted_with_patient: int
    #: The model was also fitted on scans that nobody can name, so any scan may be one of them.
    fitted_scans_unknown: bool = False

    @property
    def can_tell_held_out(self) -> bool:
        """Whether all fitted scans are known, and any patient of theirs can be compared with one of a judged scan."""
        return not self.fitted_scans_unknown and self.scans_with_patient > 0 and self.fitted_with_patient > 0

    @property
    def note(self) -> str | None:
        """What to say if held out cannot be told for every scan; else None. It names no patient."""
        if self.fitted_scans_unknown:
            which = "which other scans" if self.fitted else "which scans"
            return (
                f"{HELD_OUT_UNKNOWN.capitalize()}. Nobody knows {which} the model was fitted on, so the figures may"
                " flatter it."
            )
        if not self.scans_with_patient:
            return "Held out by patient cannot be told: no scan has a patient id."
        if not self.fitted_with_patient:
            return "Held out by patient cannot be told: no scan that the model was fitted or tuned on has a patient id."
        unknown = [
            f"{total - known:,} of the {total:,} {which} have no patient id"
            for which, total, known in (
                ("scans", self.scans, self.scans_with_patient),
                ("scans that the model was fitted or tuned on", self.fitted, self.fitted_with_patient),
            )
            if known < total
        ]
        return f"Held out by patient cannot be told for all scans: {' and '.join(unknown)}." if unknown else None


def has_unknown_fitted_scans(manifest: Mapping[str, Any]) -> bool:
    """Whether a model's manifest says that nobody knows all scans that it was fitted on."""
    # Manifests of older programs do not say it.
    return bool(manifest.get("about", {}).get("fitted_scans") == "unknown")


def count_known_patients(
    scans: Iterable[str | None], fitted: Iterable[str | None], *, fitted_scans_unknown: bool = False
) -> KnownPatients:
    """Count the ids among the patients of the judged scans, and of those known to be fitted or tuned on."""
    judged, used = list(scans), list(fitted)
    return KnownPatients(
        scans=len(judged),
        scans_with_patient=len(judged) - judged.count(None),
        fitted=len(used),
        fitted_with_patient=len(used) - used.count(None),
        fitted_scans_unknown=fitted_scans_unknown,
    )


def read_known_patients(connection: Connection, run_id: int) -> KnownPatients:
    """Count the ids in the patients of a run's scans, and of the scans that its model was fitted or tuned on."""
    of_run = select(func.count(), func.count(Scan.patient_id)).select_from(RunScan).join(Scan)
    scans, with_patient = connection.execute(of_run.where(RunScan.run_id == run_id)).one()
    of_model = select(func.count(), func.count(ModelScan.patient_id)).join(Run, Run.model_id == ModelScan.model_id)
    of_model = of_model.where(Run.id == run_id, ModelScan.subset.in_(FITTED_SUBSETS))
    fitted, fitted_with_patient = connection.execute(of_model).one()
    manifest = connection.execute(select(Model.manifest).join(Run).where(Run.id == run_id)).scalar_one()
    return KnownPatients(
        scans=scans,
        scans_with_patient=with_patient,
        fitted=fitted,
        fitted_with_patient=fitted_with_patient,
        fitted_scans_unknown=has_unknown_fitted_scans(manifest),
    )
