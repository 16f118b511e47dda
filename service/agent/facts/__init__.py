"""What code finds in a question before a model reads it: names that exist, times, and amounts with their units."""
