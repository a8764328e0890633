"""Schedules: jobs on cron expressions, served by one process or by the workers of a Prefect work pool.

config     the TOML file
serve      the command: checks the jobs, then serves them until it is stopped
server     the Prefect server of a schedule
deployed   what the flow of a job does around its step
runs       which process works on a run, by locks that end with their process
log        one line for each thing that happens to a job
"""

from rubricator.flows.schedule.config import STEPS, TEMPLATE, Job, Schedule, ScheduleError, read_schedule
from rubricator.flows.schedule.serve import schedule

__all__ = ["STEPS", "TEMPLATE", "Job", "Schedule", "ScheduleError", "read_schedule", "schedule"]
