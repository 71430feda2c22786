"""Published models: the manifest, files, hash and exports of an artifact, and the stores that hold artifacts.

`worker.scoring` runs the models.
"""
