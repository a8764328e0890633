"""Examples in, probabilities and evidence out: classifiers, calibration, evaluation, registry. No Prefect."""
