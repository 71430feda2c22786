"""The conversions in docs/weights write what `trainer import` reads, and open no file by running it unasked."""

import json

import pytest
from safetensors.numpy import load_file

from tests.torch.conftest import TXV_NAME
from tests.torch.programs import CONVERSIONS, run_publisher
from trainer.importing.description import Description
from trainer.importing.public_weights import PUBLIC_WEIGHTS


@pytest.mark.parametrize("drawn", ["torchvision"], indirect=True)
def test_a_whole_network_is_opened_only_on_trust(drawn, tmp_path):
    """PyTorch's restricted reader refuses it, and the sentence says what --trust means."""
    made = tmp_path / "made.safetensors"
    convert = CONVERSIONS / "from_checkpoint.py", drawn.folder / "whole_network", "--out", made
    refused = run_publisher(*convert, check=False)
    assert refused.returncode == 1
    assert "running the code in it" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not made.exists()
    run_publisher(*convert, "--trust")
    tensors, same = load_file(made), load_file(drawn.folder / "chexnet.safetensors")
    assert {f"module.densenet121.{name}" for name in tensors} == set(same)
    assert all((tensor == same[f"module.densenet121.{name}"]).all() for name, tensor in tensors.items())


@pytest.mark.parametrize("drawn", ["torchxrayvision"], indirect=True)
def test_the_description_of_torchxrayvision_is_that_of_the_list_with_thresholds(drawn):
    """Outputs, crop and range come from the publisher's package, and the list in `trainer import --list` agrees."""
    described = Description.model_validate_json((drawn.folder / f"{TXV_NAME}.json").read_text())
    listed = Description(**PUBLIC_WEIGHTS[TXV_NAME].description)
    same = {"outputs", "size", "channels", "crop", "range", "views", "licence", "citation"}
    assert described.model_dump(include=same) == listed.model_dump(include=same)
    assert set(described.thresholds) == set(described.findings)


def test_every_description_of_torchxrayvision_is_valid():
    """For each of its DenseNets, as the conversion would write it."""
    program = (
        "import json, sys; sys.path.insert(0, 'docs/weights'); import from_torchxrayvision as conversion;"
        "names = [name for name in conversion.torchxrayvision.models.model_urls if name.startswith('densenet121-')];"
        "print(json.dumps({name: conversion.describe(name) for name in names}))"
    )
    described = json.loads(run_publisher("-c", program).stdout.splitlines()[-1])
    assert len(described) == 7
    for name, description in described.items():
        fields, listed = Description.model_validate(description), Description(**PUBLIC_WEIGHTS[name].description)
        assert (fields.outputs, fields.published_auroc) == (listed.outputs, listed.published_auroc)
