"""The terms of the objective, one per file: pure functions of outputs, targets and assignment.

Each is unweighted, 0 and still differentiable when nothing is to be compared, and makes no host wait.
"""
