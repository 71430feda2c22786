"""A .safetensors file gives finite float32 tensors, or one sentence that names the file, the cause and the remedy."""

import os
import pickle
import random
import tracemalloc
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from db.errors import UserError
from tests.support.weight_files import raw_safetensors
from trainer.importing.weights import safetensors_file
from trainer.importing.weights.pickles import refuse_pickle
from trainer.importing.weights.safetensors_file import read_tensors

TWO = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
DATA = np.float32([1, 2]).tobytes()
DAMAGED = {
    "nothing but a length": raw_safetensors(b"", length=100),
    "a header longer than the file": raw_safetensors({"a": TWO}, DATA, length=10**6),
    "a header of 8 exabytes": raw_safetensors({"a": TWO}, DATA, length=2**63),
    "a header longer than is allowed": raw_safetensors({"a": TWO}, DATA, length=100_000_001),
    "no JSON": raw_safetensors(b'{"a": ', DATA),
    "no object": raw_safetensors(b"[]"),
    "a header nested without end": raw_safetensors(b'{"a":' * 50_000),
    "no UTF-8": raw_safetensors(b'{"\xff": {}}'),
    "less data than is claimed": raw_safetensors({"a": TWO}, DATA[:4]),
    "more data than is claimed": raw_safetensors({"a": TWO}, DATA + DATA),
    "data beyond the file": raw_safetensors({"a": TWO | {"data_offsets": [0, 2**40], "shape": [2**38]}}, DATA),
    "overlapping offsets": raw_safetensors({"a": TWO, "b": TWO | {"data_offsets": [4, 12]}}, DATA + DATA[:4]),
    "a gap between tensors": raw_safetensors({"a": TWO, "b": TWO | {"data_offsets": [12, 20]}}, DATA * 3),
    "reversed offsets": raw_safetensors({"a": TWO | {"data_offsets": [8, 0]}}, DATA),
    "a tensor twice": raw_safetensors(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
        DATA * 2,
    ),
    "a shape that contradicts the offsets": raw_safetensors({"a": TWO | {"shape": [3]}}, DATA),
    "a negative shape": raw_safetensors({"a": TWO | {"shape": [-2]}}, DATA),
    "a shape that overflows": raw_safetensors({"a": TWO | {"shape": [2**40, 2**40]}}, DATA),
    "an unknown type": raw_safetensors({"a": TWO | {"dtype": "X32"}}, DATA),
    "text": b"<!DOCTYPE html><html>Please log in</html>",
    "zeros": bytes(1000),
}


def read(path, ignored=lambda name: name == "ignored"):
    return read_tensors(path, ignored=ignored)


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_gets_one_sentence(tmp_path, content):
    """Whatever it claims, the file's size bounds what is read."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(
        UserError, match=r"net\.safetensors: is damaged, or not a .safetensors file \(.*\); download or"
    ):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def torch_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))


def old_torch(path):
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps({"a": 1}, protocol=2))


def plain_pickle(path):
    path.write_bytes(pickle.dumps({f"tensor {number}": number for number in range(100)}, protocol=4))


@pytest.mark.parametrize("name", ["net.safetensors", "net.h5", "net", "net.pth", "net.pth.tar", "net.PT"])
@pytest.mark.parametrize("write", [torch_zip, old_torch, plain_pickle], ids=lambda write: write.__name__)
def test_a_pickle_is_refused_whatever_its_name(tmp_path, write, name):
    """To read a pickle is to run the code in it."""
    write(tmp_path / name)
    with pytest.raises(UserError, match=r"is a pickle as PyTorch writes it, .* is never read here; .*docs/import\.md"):
        refuse_pickle(tmp_path / name)


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.tar", "net.pkl", "net.bin", "net.ckpt"])
def test_a_file_that_is_named_like_a_pickle_is_not_read(tmp_path, name):
    """Whatever it holds."""
    (tmp_path / name).write_bytes(raw_safetensors({"a": TWO}, DATA))
    with pytest.raises(UserError, match="is a pickle"):
        read(tmp_path / name)


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path):
    """640 bytes, in the file's byte order, are a pickle's first two bytes."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(raw_safetensors(raw_safetensors({"a": TWO})[8:].ljust(640), DATA))
    assert path.read_bytes().startswith(b"\x80\x02")
    assert read(path)["a"].tolist() == [1, 2]


def make_folder(path):
    path.mkdir()


def make_device(path):
    path.symlink_to("/dev/zero")


def make_pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda path: None, "cannot be read (No such file or directory)"),
        (make_folder, "is not a file"),
        (make_device, "is not a file"),
        (make_pipe, "is not a file"),
        (lambda path: path.touch(), "is empty; download it again"),
    ],
    ids=["missing", "folder", "device", "pipe", "empty"],
)
def test_what_is_no_file_gets_one_sentence(tmp_path, make, cause):
    """A pipe is not waited for, and a device not read without end."""
    path = tmp_path / "net.safetensors"
    make(path)
    with pytest.raises(UserError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}: {cause}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_gets_one_sentence(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(raw_safetensors({"a": TWO}, DATA))
    path.chmod(0)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        read(path)


def test_a_file_larger_than_any_densenet_is_not_read(tmp_path):
    """Its size is enough to know."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(raw_safetensors({"a": TWO}, DATA))
    os.truncate(path, safetensors_file.MAX_BYTES + 1)
    with pytest.raises(UserError, match=r"has 1.1 GB, more than any DenseNet"):
        read(path)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_become_float32(tmp_path, kind):
    """Of 16, 32 and 64 bits."""
    path = tmp_path / "net.safetensors"
    save_file({"a": np.array([[0.5, -2], [0, 1]], kind)}, path)
    tensor = read(path)["a"]
    assert tensor.dtype == np.float32
    assert tensor.tolist() == [[0.5, -2], [0, 1]]


@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F8_E4M3", 1), ("I64", 8), ("U8", 1), ("BOOL", 1)])
def test_another_type_is_refused_by_name(tmp_path, kind, size):
    """Weights are no integers, and numpy has neither bfloat16 nor float8."""
    path = tmp_path / "net.safetensors"
    path.write_bytes(raw_safetensors({"a": {"dtype": kind, "shape": [1], "data_offsets": [0, size]}}, bytes(size)))
    with pytest.raises(UserError, match=rf"tensor 'a' has the type {kind}, .*; convert it to float32"):
        read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_weight_that_is_not_finite_in_float32_is_refused(tmp_path, value):
    """The message names the tensor."""
    path = tmp_path / "net.safetensors"
    save_file({"a": np.array([0, value], np.float64)}, path)
    with pytest.raises(UserError, match="tensor 'a' has values that are infinite or not numbers in float32"):
        read(path)


def test_what_is_ignored_may_hold_anything(tmp_path):
    """Counts are integers, and torchxrayvision's operating points of unnamed outputs are not numbers."""
    path = tmp_path / "net.safetensors"
    save_file({"ignored": np.array([np.nan]), "a": np.float32([1])}, path)
    assert list(read(path)) == ["a"]


def test_no_damage_causes_anything_but_a_sentence_or_the_same_tensors(tmp_path):
    """500 files with changed bits, cut ends, and repeated or deleted parts."""
    path, rng = tmp_path / "net.safetensors", random.Random(28)
    shapes = {"features.conv0.weight": (4, 1, 3, 3), "classifier.bias": (3,), "n": ()}
    save_file({name: np.ones(shape, np.float32) for name, shape in shapes.items()}, path)
    whole, refused = path.read_bytes(), 0
    for _ in range(500):
        path.write_bytes(mutated(whole, rng))
        try:
            found = read(path)
        except UserError as error:
            refused += 1
            assert str(error).startswith(str(path))
        else:
            assert all(tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in found.values())
    assert 250 < refused < 500


def mutated(content, rng):
    changed, at = bytearray(content), rng.randrange(len(content))
    match rng.randrange(4):
        case 0:
            changed[at] ^= 1 << rng.randrange(8)
        case 1:
            del changed[at:]
        case 2:
            del changed[at : at + rng.randrange(1, 9)]
        case _:
            changed[at:at] = changed[rng.randrange(len(content)) :][:9]
    return bytes(changed)
