"""Published benchmarks that few need: their protocols, data layouts and counts."""

PROTOCOLS = {
    name: (f"openmofi.plugins.benchmarks.{name.replace('-', '_')}", what)
    for name, what in {
        "gpr1200": "general-purpose retrieval: 1,200 classes of 10 images in six domains; mAP",
        "vtab": "VTAB-1k: a linear probe on 19 tasks of 1,000 examples; mean accuracy",
        "revisited": "Revisited Oxford or Paris, easy, medium and hard; mAP and mean precision",
        "instre": "INSTRE: instances of 250 objects, cropped queries; mAP",
        "gldv2": "Google Landmarks v2, retrieval; mAP@100",
        "ilias": "ILIAS: instances by image and by text among distractors out of core; mAP@1k",
        "recall": "SOP, CUB-200-2011 and iNaturalist 2018; recall@K",
        "uned": "UnED: eight domains in one index; R@1 and mMP@5",
        "oven": "OVEN: the Wikipedia entity of an image, seen and unseen, both splits; accuracy",
        "image-text": "captions and images of Flickr30k or COCO, both directions; recall",
    }.items()
}
"""Name → (module, description in one line)."""
