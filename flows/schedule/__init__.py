"""Schedules: jobs on cron expressions, served by one process.

config   the TOML file
serve    the command: checks the jobs, then serves them until it is stopped
server   the Prefect server of a schedule
"""

from rubricator.flows.schedule.config import STEPS, TEMPLATE, Job, Schedule, ScheduleError, read_schedule
from rubricator.flows.schedule.serve import schedule

__all__ = ["STEPS", "TEMPLATE", "Job", "Schedule", "ScheduleError", "read_schedule", "schedule"]
