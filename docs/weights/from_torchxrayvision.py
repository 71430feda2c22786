# /// script
# requires-python = ">=3.11"
# dependencies = ["safetensors>=0.6", "torch>=2.6", "torchxrayvision>=1.5.7"]
# ///
"""Writes NAME.safetensors and NAME.json of a DenseNet that torchxrayvision publishes, for `trainer import`.

uv run docs/weights/from_torchxrayvision.py densenet121-res224-all

torchxrayvision downloads the file and opens it, a pickle, which runs the code in it: run this only if you trust the
publisher. --cache-dir names the folder in which it looks for the file first.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torchxrayvision
from safetensors.torch import save_file

#: Source: BENCHMARKS.md of mlmed/torchxrayvision, "Results updated: 06/27/2021", which has no other of its DenseNets.
AUROC_OF_ALL = {
    "published_auroc": {
        "Atelectasis": 0.77,
        "Cardiomegaly": 0.93,
        "Consolidation": 0.88,
        "Edema": 0.97,
        "Effusion": 0.95,
        "Emphysema": 0.87,
        "Fibrosis": 0.94,
        "Fracture": 0.70,
        "Hernia": 0.96,
        "Infiltration": 0.85,
        "Mass": 0.85,
        "Nodule": 0.69,
        "Pleural_Thickening": 0.79,
        "Pneumonia": 0.82,
        "Pneumothorax": 0.81,
    },
    "published_auroc_of": "a part of PadChest, views PA and AP; it was fitted on another part, or on some of the same"
    " scans",
}


def describe(name: str) -> dict[str, Any]:
    """The fields of nightread's `Description`. The split is unknown, because its author did not keep it (issue 47)."""
    published = torchxrayvision.models.model_urls[name]
    thresholds = zip(published["labels"], published["op_threshs"], strict=True)
    return {
        "outputs": published["labels"],
        "size": published["input_resolution"],
        "channels": 1,
        "crop": "center",
        "range": [-1024, 1024],
        "thresholds": {finding: threshold for finding, threshold in thresholds if not math.isnan(threshold)},
        # Of the scripts that fit and that choose thresholds, scripts/train_model.py and scripts/model_calibrate.py.
        "views": ["PA", "AP"],
        "source": f"torchxrayvision, {name}, {published['weights_url']}",
        "licence": "Apache-2.0",
        "citation": "Cohen et al., TorchXRayVision: A library of chest X-ray datasets and models,"
        " Medical Imaging with Deep Learning 2022, arXiv:2111.00595",
        **(AUROC_OF_ALL if name == "densenet121-res224-all" else {}),
    }


def main() -> None:
    """Write both files into the folder of --out."""
    names = [name for name in torchxrayvision.models.model_urls if name.startswith("densenet121-")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=names)
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write to")
    parser.add_argument("--cache-dir", help="by default ~/.torchxrayvision/models_data")
    given = parser.parse_args()
    network = torchxrayvision.models.DenseNet(weights=given.name, cache_dir=given.cache_dir)
    given.out.mkdir(parents=True, exist_ok=True)
    weights, description = given.out / f"{given.name}.safetensors", given.out / f"{given.name}.json"
    save_file(network.state_dict(), weights)
    description.write_text(json.dumps(describe(given.name), indent=1) + "\n", encoding="utf-8")
    print(f"{weights} and {description}")
    print(f"next: trainer import {weights} --name {given.name}")


if __name__ == "__main__":
    main()
