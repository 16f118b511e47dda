"""Whether the own bucket and the database fit together: compared as a whole, and in small parts by workers."""
