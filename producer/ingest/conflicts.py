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
        differences.append("is of patient {} there and of patient {} here".format(*first.patients))
    if first.locations:
        differences.append("is {} there and {}, with other bytes, here".format(*first.locations))
    remedies = ["--dataset NAME if they are other scans"]
    if any(conflict.locations for conflict in conflicts.values()):
        remedies.append("--moved if the same scans lie there now")
    if any(conflict.patients for conflict in conflicts.values()):
        remedies.append("--correct-patients if the source's patients are right")
    which = f"{len(conflicts):,} scans are others" if len(conflicts) > 1 else "one scan is another"
    return (
        f"{source}: {which} in dataset {dataset!r}: {first.image_name!r} {' and '.join(differences)}; "
        f"add {', or '.join(remedies)}"
    )
