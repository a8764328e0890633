"""What the command line adds to steps: options made from their parameters, and hints on which option mends an error."""
