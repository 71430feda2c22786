"""`worker start`: one supervisor keeps a process per device alive, on the right model, and reports their state.

Nothing here loads a model; the scoring process does (`worker.scoring`).
"""
