"""A classifier of CT figures, trained as the README's command does, beside a grey histogram.

Run ``python -m benchmarks.classifier FOLDER [--data ../shared/data]``. A catalog of the COVID-CT
table is written into FOLDER, ``maskmill train --preset classifier --folds 5`` runs with its default
settings, and logistic regression on the grey histogram learns from the same parts: what the
network is trained and chosen on. Both are scored out of fold; the difference of their accuracies
is paired, and its interval draws whole groups. FOLDER keeps bundle and report; run again, it goes
on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flows.samples import Samples, read_samples
from segmentation.classification.intervals import cluster_interval
from segmentation.metrics.paired import mcnemar_exact

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).parents[2] / "shared" / "data"
SETTINGS = {"preset": "classifier", "folds": 5}
BINS = 64
# Inverse strengths of the penalty that are tried.
STRENGTHS = tuple(10.0**power for power in range(-4, 3))
INNER_FOLDS = 4
LEVEL = 0.95


def main() -> None:
    """Train both, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--settings", type=json.loads, default={}, help="other settings, as JSON")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    catalog = write_catalog(options.folder, options.data / "covid_ct")
    started = time.monotonic()
    trained = train(catalog, options.folder / "bundle", SETTINGS | options.settings)
    minutes = (time.monotonic() - started) / 60
    records = options.folder / "bundle" / "training"
    samples = read_samples(str(catalog))
    split = json.loads((records / "split.json").read_text())
    result = compare(samples, split, network_hits(records, samples)) | {
        "minutes": minutes,
        "balanced_accuracy": trained["balanced_accuracy"],
        "across_groups": trained["look_alikes_across_groups"],
    }
    sys.stdout.write(json.dumps(result) + "\n" if options.json else _text(result))


def write_catalog(folder: Path, data: Path) -> Path:
    """The catalog that names table and images."""
    content = {
        "classes": ["non_covid", "covid"],
        "samples": str((data / "truth.csv").absolute()),
        "images": str((data / "images").absolute()),
    }
    path = folder / "catalog.yaml"
    path.write_text(json.dumps(content, indent=1))
    return path


def train(catalog: Path, bundle: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What the command ``maskmill train`` says; its progress goes to stderr.

    Raises
    ------
    SystemExit
        With the command's own code, if it fails.
    """
    config = catalog.with_name("settings.yaml")
    config.write_text(json.dumps(settings))
    command = [Path(sys.executable).with_name("maskmill"), "train", catalog, "--out", bundle]
    done = subprocess.run(
        [*map(str, command), "--config", str(config), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def network_hits(records: Path, samples: Samples) -> NDArray[np.bool_]:
    """Whether each sample was classified rightly by the network that has not seen its group."""
    with (records / "predictions.csv").open(newline="") as file:
        right = {row["id"]: row["correct"] == "true" for row in csv.DictReader(file)}
    return np.array([right[sample.name] for sample in samples.samples])


def compare(samples: Samples, split: dict[str, Any], network: NDArray[np.bool_]) -> dict[str, Any]:
    """Accuracy of both out of fold, and their paired difference."""
    groups = joined_groups([sample.group for sample in samples.samples], split["linked"])
    baseline = baseline_hits(samples, split["folds"], groups)
    apart = network.astype(np.int64) - baseline.astype(np.int64)

    def difference(weights: NDArray[np.int64]) -> float:
        return float(weights @ apart) / int(weights.sum())

    only = int((apart > 0).sum()), int((apart < 0).sum())
    return {
        "samples": len(network),
        "groups": len(set(groups)),
        "network": float(network.mean()),
        "baseline": float(baseline.mean()),
        "network_by_fold": [float(network[fold["test"]].mean()) for fold in split["folds"]],
        "baseline_by_fold": [float(baseline[fold["test"]].mean()) for fold in split["folds"]],
        "difference": cluster_interval(difference, groups, LEVEL, ""),
        "network_alone": only[0],
        "baseline_alone": only[1],
        "mcnemar": mcnemar_exact(*only),
        "look_alikes": split["look_alikes"],
    }


def joined_groups(groups: list[str], linked: list[list[str]]) -> list[str]:
    """Groups, with those made one that hold images which look alike."""
    head = {group: group for group in groups}
    for first, second in linked:
        old, new = head[second], head[first]
        head = {group: new if found == old else found for group, found in head.items()}
    return [head[group] for group in groups]


def baseline_hits(
    samples: Samples, folds: list[dict[str, list[int]]], groups: list[str]
) -> NDArray[np.bool_]:
    """Whether the grey histogram tells each sample rightly; its penalty is chosen inside."""
    labels = np.array([sample.label for sample in samples.samples])
    shares = np.stack([_histogram(samples.images.read(name)) for name in samples.images.names])
    clusters, right = np.array(groups), np.zeros(len(labels), bool)
    for fold in folds:
        learned, tested = np.array(fold["train"] + fold["validation"]), np.array(fold["test"])
        search = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
            {"logisticregression__C": STRENGTHS},
            cv=GroupKFold(INNER_FOLDS),
        )
        search.fit(shares[learned], labels[learned], groups=clusters[learned])
        right[tested] = search.predict(shares[tested]) == labels[tested]
    return right


def _histogram(image: NDArray[Any]) -> NDArray[np.float64]:
    counts, _ = np.histogram(image, BINS, (0, 256))
    return counts / image.size


def _text(result: dict[str, Any]) -> str:
    found = result["difference"]
    across = result["across_groups"]
    lines = [
        f"{result['minutes']:.1f} minutes; {result['samples']} images in {result['groups']} groups",
        f"network          accuracy {result['network']:.3f}  by fold "
        + " ".join(f"{value:.3f}" for value in result["network_by_fold"]),
        f"grey histogram   accuracy {result['baseline']:.3f}  by fold "
        + " ".join(f"{value:.3f}" for value in result["baseline_by_fold"]),
        f"difference {found['value']:+.3f}, {LEVEL:.0%} interval {found['low']:+.3f} to "
        f"{found['high']:+.3f} ({found['method']})",
        f"right alone: network {result['network_alone']}, histogram {result['baseline_alone']}; "
        f"McNemar p {result['mcnemar']:.2g}",
        f"{len(result['look_alikes'])} pairs of images look alike, {len(across)} of them in "
        "different groups, which were joined before the split:",
    ]
    lines += [f"  {first} and {second}" for first, second in across]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
