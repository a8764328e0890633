"""Parameters of steps: how they are declared, and the flat form in which they are named from outside."""
