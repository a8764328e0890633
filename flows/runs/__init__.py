"""Runs of deployments, by `rubricator schedule` or by a worker of a work pool.

deployed   what the flow of a deployment does around its step
locks      which process works on a run, by locks that end with their process
log        one line for each thing that happens to a job
"""
