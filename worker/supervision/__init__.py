"""`worker start`: one supervisor keeps a process per device alive, on the right model, and says how they are.

Nothing here loads a model; that is the scoring process's (`worker.scoring`).
"""
