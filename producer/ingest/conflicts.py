"""Words the question that a person must settle: which of two scans has a name."""

from collections.abc import Mapping

from db.ledger.scans import Conflict


def describe_conflicts(conflicts: Mapping[str, Conflict], source: str, dataset: str) -> str:
    """One sentence with both places or patients of the first scan, and the flags that settle it.

    Args:
        conflicts: at least one, by image name.
        source: the CSV or folder, as people know it.
        dataset: the dataset in which the names are known.
    """
    first = conflicts[min(conflicts)]
    differences = []
    if first.patients:
        differences.append("the ledger has patient {}, the source patient {}".format(*first.patients))
    if first.locations:
        differences.append("the ledger has {}, the source {} with other bytes".format(*first.locations))
    remedies = ["--dataset NAME if they are other scans"]
    if any(conflict.locations for conflict in conflicts.values()):
        remedies.append("--moved if the same scans lie there now")
    if any(conflict.patients for conflict in conflicts.values()):
        remedies.append("--correct-patients if the source's patients are right")
    count = f"{len(conflicts):,} scans are" if len(conflicts) > 1 else "a scan is"
    return (
        f"{source}: {count} known in dataset {dataset!r} as another: {first.image_name!r}: {'; '.join(differences)}; "
        f"add {', or '.join(remedies)}"
    )
