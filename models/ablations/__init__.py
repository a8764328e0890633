"""What was measured and rejected: classifiers for rows of the benchmark, which are in no list of the product."""
