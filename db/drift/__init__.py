"""Drift: whether a night's scans differ from a reference, in scores, rejects and kinds of scans.

It judges no score by a label, so it works on nights that nobody labelled.

scans.py        the scans of a night or of a reference, as arrays
night.py        what is said of a night
quantities.py   what is compared: shares of scans by outcome, kind and score
joint_shift.py  how far the scores of all findings together are from the reference's
shift_test.py   the test: the largest standardised shift, and a permutation of patients
score_shift.py  Kolmogorov-Smirnov and the population stability index of a finding's scores
judge.py        judges a night's scans against a reference's
run_scans.py    reads the scans of runs from SQL
read.py         reads the nights of a job from SQL, and judges each by those before it or by another run
"""
