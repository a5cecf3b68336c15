"""A few rendered hands in the datasets' own formats: to try every command without a download."""
