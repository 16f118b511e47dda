"""A video that grows: the cost of each version beside a fresh render, and a reader of the newest one."""
