"""The gauges of the last judged night."""

from db.drift.night import NightDrift, ScoreShift, Shift
from producer.monitoring.prometheus import _drift

NIGHT = NightDrift(
    run_id=31,
    night="2026-11-25",
    reference_runs=(29, 30),
    scans=1_000,
    reference_scans=2_000,
    not_judged=None,
    p_value=0.2,
    is_alarm=False,
    shifts=(Shift(kind="view", name="AP", cut=None, night=0.3, reference=0.35, standardised=-2.5),),
    scores=(
        ScoreShift(
            finding="Effusion",
            night_mean=0.2,
            reference_mean=0.1,
            kolmogorov_smirnov=0.12,
            population_stability_index=0.05,
        ),
        ScoreShift(
            finding="Hernia",
            night_mean=None,
            reference_mean=0.1,
            kolmogorov_smirnov=None,
            population_stability_index=None,
        ),
    ),
)


def test_a_judged_night_has_a_gauge_for_each_figure_that_is_defined():
    """The shift has no sign, so that one rule finds it in both directions; an undefined figure is absent, not 0."""
    samples = (sample for family in _drift(NIGHT) for sample in family.samples)
    assert {(sample.name, *sample.labels.values()): sample.value for sample in samples} == {
        ("nightread_drift_alarm",): 0,
        ("nightread_drift_largest_shift",): 2.5,
        ("nightread_drift_scans",): 1_000,
        ("nightread_drift_ks", "Effusion"): 0.12,
        ("nightread_drift_psi", "Effusion"): 0.05,
    }
