"""What the names of files say: their order and numbers, dates and times, and whether they are images or videos."""
