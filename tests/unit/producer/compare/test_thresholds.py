"""At which threshold a model predicts."""

from producer.compare.thresholds import choose_thresholds


def test_a_finding_that_lacks_the_wanted_threshold_has_the_one_that_it_has_otherwise():
    """That is `youden`, wherever it stands; else its first one, else 0.5."""
    own = {"Mass": {"best_f1": 0.2}, "Edema": {"published": 0.1, "youden": 0.3}, "Nodule": {"published": 0.4}}
    findings = ("Mass", "Edema", "Nodule", "Hernia")
    otherwise = {"Edema": ("youden", 0.3), "Nodule": ("published", 0.4), "Hernia": ("default", 0.5)}
    assert choose_thresholds(own, findings, "best_f1", "m") == {"Mass": ("best_f1", 0.2), **otherwise}
    assert choose_thresholds(own, findings, None, "m") == {"Mass": ("best_f1", 0.2), **otherwise}
    published = choose_thresholds(own, findings, "published", "m")
    assert (published["Edema"], published["Mass"]) == (("published", 0.1), ("best_f1", 0.2))
