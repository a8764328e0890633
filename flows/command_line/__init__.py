"""What the command line adds to steps: options made from their parameters, and hints that name options."""
