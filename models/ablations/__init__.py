"""Variants that were measured and rejected: classifiers for the benchmark only, not in the table CLASSIFIERS."""
