"""Folders beside a whole artifact in a model store that cannot be used, one for each thing that goes wrong."""

import json
import shutil

from tests.support.world import hash_artifact
from worker.artifacts.manifest import MANIFEST_FILE, MODEL_FILE, SPLIT_FILE


def other(store, name="other", **more):
    """A whole artifact of another model."""
    return hash_artifact(store, name=name, model=b"another model", **more).folder


def half_copied(store):
    folder = other(store)
    (folder / MODEL_FILE).unlink()
    (folder / SPLIT_FILE).unlink()
    return folder


def without_manifest(store):
    folder = other(store)
    (folder / MANIFEST_FILE).unlink()
    return folder


def half_manifest(store):
    path = other(store) / MANIFEST_FILE
    path.write_bytes(path.read_bytes()[:50])
    return path.parent


def half_model(store):
    folder = other(store)
    (folder / MODEL_FILE).write_bytes(b"another")
    return folder


def newer_format(store):
    path = other(store) / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format_version": 3}))
    return path.parent


def edited_manifest(store):
    path = other(store) / MANIFEST_FILE
    path.write_text(path.read_text().replace('"batch_size": 8', '"batch_size": 9'))
    return path.parent


def renamed_folder(store):
    return other(store).rename(store / "other")


def unreadable_manifest(store):
    """A folder in the manifest's place, because the tests' user may be root, who may read everything."""
    path = other(store) / MANIFEST_FILE
    path.unlink()
    path.mkdir()
    return path.parent


def file_in_its_place(store):
    folder = other(store)
    shutil.rmtree(folder)
    folder.write_text("")
    return folder


#: What each of these problems' sentences says.
LISTED = {
    without_manifest: r"manifest\.json: the manifest cannot be read \(No such file.*; wait until its copy is complete",
    half_manifest: r"manifest\.json: content is .*; wait until its copy is complete",
    newer_format: r"manifest\.json: format_version is 3: .*; another version of nightread wrote it",
    edited_manifest: r"holds artifact [0-9a-f]{12}, which .*; rename this folder to [0-9a-f]{12}, or remove it",
    renamed_folder: r"holds artifact [0-9a-f]{12}, which .*; rename this folder to [0-9a-f]{12}, or remove it",
    unreadable_manifest: r"manifest\.json: the manifest cannot be read \(Is a directory\)",
    file_in_its_place: r"manifest\.json: the manifest cannot be read \(Not a directory\)",
}


def taken_name(store):
    return other(store, name="good")


def scan_twice(store):
    return other(store, split=[("a.png", "1", "train"), ("a.png", "1", "test")])


def bad_split(store):
    return other(store, split=[("a.png", "1", "Mrs Roe")])


#: Problems that a manifest does not show.
VERIFIED = {
    half_copied: r"lacks model\.keras, split\.csv; wait until its copy is complete, copy it again, or remove it",
    half_model: r"model\.keras: damaged: .*; wait until its copy is complete",
    taken_name: r"the name 'good' belongs to artifact [0-9a-f]{12}; .* under another --name, or remove it",
    scan_twice: r"the database refuses its manifest or split \(.*\); remove its folder",
    bad_split: r"split\.csv: line 2: the subset is not one of train, validation, test",
}
