"""What runs, and in which order: Prefect flows and the command line. No text or model logic."""
