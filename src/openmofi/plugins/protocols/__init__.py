"""The evaluation protocols of general use, one file each, and what their data have in common."""

PROTOCOLS = {
    name: (f"openmofi.plugins.protocols.{name}", what)
    for name, what in {
        "retrieval": "retrieval over any folder of class folders; mAP and recall",
        "knn": "weighted nearest neighbours as for DINOv2; top-1 accuracy",
        "linear": "logistic regression on frozen features, full or few-shot; accuracy",
        "zeroshot": "classification by class names; folders, tar shards or a table; accuracy",
        "entity": "which entity an image shows, by labelled images and by texts; top-1 and top-5",
        "labels": "labels where the truth is known; precision and recall; needs no encoder",
    }.items()
}
"""Name → (module, description in one line)."""
