"""A model as it is published: manifest, files, hash, exports; and where artifacts are kept and found.

Running a model is not done here, but in `worker.scoring`.
"""
