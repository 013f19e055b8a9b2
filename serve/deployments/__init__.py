"""One thin deployment for each part: it constructs a step, translates, calls it through its door, translates back."""
