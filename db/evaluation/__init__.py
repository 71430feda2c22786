"""The evaluation of scores against labels: figures with 95% intervals that are clustered by patient.

It is arithmetic on arrays, without SQL. A run's report, `trainer evaluate` and the model card all show what these
functions give.

cohort.py        the scans to evaluate: scores, labels, patients and groups of all findings; a sample of one finding
logistic.py      logistic regression, by Newton's method
estimate.py      a figure with its interval, from what each patient adds to it
ranking.py       AUROC and average precision; rank correlation
calibration.py   Brier score, calibration slope and intercept, observed over expected, the calibration curve
patient_counts.py  sums over patients of functions of their counts, at many thresholds at once
rates.py         counts, rates and net benefit at thresholds
metadata.py      scores from view, sex and age, without the image
evaluate.py      puts all of it together
mcnemar.py       McNemar's test by patient
judged.py        one side of a comparison: the figures that are compared
comparison.py    compares two sets of scores of the same scans
sentences.py     what is said of an evaluation in words
format.py        figures as text
run_cohort.py    reads the cohort of a run from SQL
run_pair.py      reads the scans that two runs both scored from SQL
"""
