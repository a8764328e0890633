"""Parameters of steps: their declaration, and the flat form that the command line, schedules and Prefect use."""
